"""The one place where a parameter receives its logical axis names."""

from collections.abc import Callable, Sequence
from typing import cast

import jax
import jax.numpy as jnp
from flax import linen as nn


def logical_param(
  module: nn.Module,
  name: str,
  init: Callable,
  shape: Sequence[int],
  axes: Sequence[str],
) -> jax.Array:
  """A float32 parameter; `axes` names its dimensions for the T5X rules."""
  boxed = nn.with_logical_partitioning(init, tuple(axes))
  return cast(jax.Array, module.param(name, boxed, tuple(shape), jnp.float32))
