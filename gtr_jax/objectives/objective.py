"""What the trainer knows of the thing that it trains."""

from typing import Protocol

import jax
from jaxtyping import Array, Float

from gtr_jax.types import Batch, Metrics, Params


class Objective(Protocol):
  """Parameters and a scalar to make small."""

  def init(self, rng: jax.Array, batch: Batch) -> Params:
    """Parameters in boxes that carry their logical axis names."""
    ...

  def loss(
    self, params: Params, batch: Batch, rng: jax.Array | None
  ) -> tuple[Float[Array, ""], Metrics]:
    """The loss on the global batch and its metrics; no dropout without rng."""
    ...
