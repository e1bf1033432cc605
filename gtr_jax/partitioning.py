"""From logical axis names to devices: the mesh, the rules, the shardings."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from flax.linen import spmd
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from gtr_jax.types import Batch

Rules = Sequence[tuple[str, str | None]]

# T5X `standard_logical_axis_rules`, one-dimensional activations and
# parameters, and T5X Retrieval's `affinity` for the projection.
STANDARD_RULES: Rules = (
  ("batch", "data"),
  ("vocab", "model"),
  ("mlp", "model"),
  ("heads", "model"),
  ("joined_kv", "model"),
  ("embed", None),
  ("kv", None),
  ("length", None),
  ("relpos_buckets", None),
  ("affinity", None),
)


def make_mesh(model_parallel: int = 1) -> Mesh:
  """A ("data", "model") mesh over all devices.

  The axes are Auto: with Explicit ones, JAX's default, a Linen embedding
  look-up fails.

  Raises:
    ValueError: if `model_parallel` does not divide the number of devices.
  """
  num_devices = jax.device_count()
  if model_parallel < 1 or num_devices % model_parallel:
    raise ValueError(
      f"MODEL_PARALLEL is {model_parallel}, which does not divide the"
      f" {num_devices} devices; choose a divisor"
    )
  shape = (num_devices // model_parallel, model_parallel)
  return jax.make_mesh(shape, ("data", "model"), (AxisType.Auto,) * 2)


def _is_boxed(leaf) -> bool:
  return isinstance(leaf, nn.LogicallyPartitioned)


def shardings(boxed: Any, mesh: Mesh, rules: Rules = STANDARD_RULES) -> Any:
  """One NamedSharding per array of `boxed`, with the boxes removed.

  A leaf whose rank differs from its axis names is replicated: Adafactor keeps
  row and column moments under the names of the matrix they came from.  So is
  one whose dimension the mesh axis does not divide.
  """

  def one(leaf):
    if not _is_boxed(leaf) or len(leaf.names) != leaf.value.ndim:
      return NamedSharding(mesh, PartitionSpec())
    axes = tuple(spmd.logical_to_mesh_axes(leaf.names, rules) or ())
    sizes = zip(axes, leaf.value.shape, strict=True)
    if any(axis and size % mesh.shape[axis] for axis, size in sizes):
      return NamedSharding(mesh, PartitionSpec())
    return NamedSharding(mesh, PartitionSpec(*axes))

  return jax.tree.map(one, boxed, is_leaf=_is_boxed)


def process_share(mesh: Mesh) -> tuple[int, int]:
  """Which part of each global batch this process reads, and of how many parts.

  Processes whose devices share a copy of the model read the same part.

  Raises:
    ValueError: if the parts of two processes overlap but differ.
  """
  axes = tuple(axis for axis in mesh.axis_names if axis != "model")
  size = math.prod(mesh.shape[axis] for axis in axes)
  rows = NamedSharding(mesh, PartitionSpec(axes))
  places: dict[int, set[int]] = {}
  for device, (place,) in rows.devices_indices_map((size,)).items():
    places.setdefault(device.process_index, set()).add(place.start or 0)
  parts = sorted(set(map(frozenset, places.values())), key=min)
  if sum(map(len, parts)) != size or len(set(map(len, parts))) > 1:
    raise ValueError(
      f"MODEL_PARALLEL gives {len(places)} processes unequal or overlapping"
      " parts of the batch; choose one that divides the devices of a process,"
      " or a multiple of them"
    )
  return parts.index(frozenset(places[jax.process_index()])), len(parts)


def to_global(batch: Mapping[str, np.ndarray], mesh: Mesh) -> Batch:
  """Joins this host's rows with every other host's into global arrays."""
  rows = NamedSharding(mesh, PartitionSpec("data"))
  return {
    name: jax.make_array_from_process_local_data(rows, array)
    for name, array in batch.items()
  }
