"""Parameters in boxes to the two collections of T5X's train state."""

from collections.abc import Mapping
from typing import Any

from flax import linen as nn
from flax.core import meta
from flax.linen import partitioning as flax_partitioning
from jax.sharding import PartitionSpec

from gtr_jax.types import Params


def variables(boxed: Params) -> dict[str, Any]:
  """{"params": arrays, "params_axes": their logical axes}.

  For each array `kernel`, T5X's partitioner and its Adafactor look for a
  `kernel_axes` in the same place.

  Args:
    boxed: parameters in boxes with their names, from an objective's `init`.
  """
  return {"params": meta.unbox(boxed), "params_axes": _axes(boxed)}


def _axes(boxed: Params) -> dict[str, Any]:
  axes = {}
  for name, value in boxed.items():
    if isinstance(value, Mapping):
      axes[name] = _axes(value)
    elif isinstance(value, nn.LogicallyPartitioned):
      names: Any = PartitionSpec(*value.names)
      axes[f"{name}_axes"] = flax_partitioning.AxisMetadata(names=names)
    else:
      raise ValueError(
        f"the parameter {name} has no names for its axes; make it by"
        " layers.param.logical_param"
      )
  return axes
