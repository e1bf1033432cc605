"""The one place where a parameter receives its logical axis names."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.core import meta
from jax.typing import DTypeLike

from gtr_jax import partitioning


def logical_param(
  module: nn.Module,
  name: str,
  init: Callable,
  shape: Sequence[int],
  axes: Sequence[str],
  dtype: DTypeLike = jnp.float32,
) -> jax.Array:
  """A float32 parameter, cast to `dtype` for use and there in whole.

  Where a device holds a share of it, the cast comes first: half of the bytes
  travel for bfloat16.

  Args:
    axes: names of its dimensions, for T5X's rules.
  """
  if module.has_variable("params", name):
    # Not module.param, which refuses a share for its shape.
    value = meta.unbox(module.get_variable("params", name))
  else:
    boxed = nn.with_logical_partitioning(init, tuple(axes))
    value = meta.unbox(module.param(name, boxed, tuple(shape), jnp.float32))
  return partitioning.gathered(jnp.asarray(value, dtype), shape, axes)
