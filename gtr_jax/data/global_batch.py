"""A whole batch, of which each process will read its own part."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from gtr_jax import packing
from gtr_jax.types import HostBatch, TowerName


@dataclass(frozen=True)
class GlobalBatch:
  """The batch of all processes; the tokens of its texts are not read yet.

  Attributes:
    texts: the queries [B], and the passages [B * K] query by query; no tokens
      for no negative.
    others: all but the tokens, for the queries of these numbers; see
      `types.Batches`.
  """

  texts: Mapping[TowerName, packing.Texts]
  others: Callable[[Int[np.ndarray, "b"]], HostBatch]
