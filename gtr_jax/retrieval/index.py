"""What every index offers, exact or approximate."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from jaxtyping import Float32

from gtr_jax.retrieval import ranking


class Index(Protocol):
  """Finds the passages of one corpus that score highest with a query."""

  def search(
    self,
    queries: Float32[np.ndarray, "Q D"],
    depth: int,
    query_ids: Sequence[str] | None = None,
  ) -> ranking.Ranking:
    """The `depth` best passages of each query, or all if there are fewer.

    Args:
      query_ids: names of the queries in the ranking; None numbers them from 0.
    """
    ...
