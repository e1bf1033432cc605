"""Token ids to embeddings by another library: an exported model."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int32

from gtr_jax import packing
from gtr_jax.retrieval import batching, towers
from gtr_jax.retrieval.towers import Embeddings, Report
from gtr_jax.types import TowerName

_BATCH_TOKENS = 8_192


@dataclass(frozen=True)
class ForeignTowers:
  """Both towers, as a function that knows nothing of packed rows.

  Attributes:
    function: token ids [n, L], 0 is padding, and a tower to embeddings [n, D];
      n may be 0.
  """

  function: Callable[
    [Int32[np.ndarray, "n L"], TowerName], Float32[np.ndarray, "n D"]
  ]

  @property
  def mesh(self) -> None:
    """One device, whichever the library takes."""
    return None

  def plan(self, rows: Sequence[np.ndarray]) -> list[batching.Batch]:
    lengths = np.array([len(row) for row in rows], np.int64)
    return batching.plan(lengths, batching.Room(_BATCH_TOKENS), packs=False)

  def encode(
    self,
    rows: Sequence[np.ndarray],
    batches: Sequence[batching.Batch],
    tower: TowerName,
    meanwhile: Callable[[], None] = lambda: None,
    report: Report | None = None,
  ) -> Embeddings:
    """Embeddings of rows of ids, in their order; zeros for a row of none."""
    if not batches:
      return self.nothing(tower, len(rows))
    texts = packing.from_arrays(rows)

    def results() -> Iterator[tuple[batching.Batch, np.ndarray]]:
      for batch in batches:
        tokens, _ = batching.fill(batch, texts)
        yield batch, self.function(tokens, tower)[:, None]
        meanwhile()

    return towers.gathered(results(), len(rows), report)

  def nothing(self, tower: TowerName, num_texts: int = 0) -> Embeddings:
    """Zeros [n, D]: embeddings of texts without tokens."""
    none = np.zeros((0, batching.LENGTHS[0]), np.int32)
    width = self.function(none, tower).shape[1]
    return np.zeros((num_texts, width), np.float32)
