"""Measures of pairs that SeqIO's evaluator computes: each query's own passage.

Among the passages of the same pairs, so that a task needs nothing else; BEIR's
measures over a whole corpus are `gtr evaluate`'s.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

# Cosines nearer than this are one: sums in another order differ by 1e-7.
_TIE = 1e-6
_ROWS = 1024  # Queries that are ranked at once.


def retrieval(targets: Sequence[str], scores: Any) -> dict[str, float]:
  """Measures of how early each query meets its own passage; a tie is lost.

  SeqIO takes its arguments by their names.

  Args:
    targets: texts of the passages; a copy of a query's own is no other passage.
    scores: of each pair, with both embeddings [n, D] beside them: what a model
      of `adapters.t5x` gives in the inference mode "pair".

  Raises:
    ValueError: scores without embeddings.
  """
  embeddings = scores[1] if isinstance(scores, tuple) else None
  if not isinstance(embeddings, Mapping):
    raise ValueError(
      "the measures of pairs need both embeddings, and the model gave scores"
      ' alone: set INFERENCE_MODE = "pair"'
    )
  ranks = own_ranks(
    np.asarray(embeddings["query_embeddings"], np.float32),
    np.asarray(embeddings["passage_embeddings"], np.float32),
    targets,
  )
  return {
    "accuracy": float(np.mean(ranks == 1)),
    "mrr@10": float(np.mean(np.where(ranks <= 10, 1 / ranks, 0))),
    "recall@100": float(np.mean(ranks <= 100)),
    "cosine": float(np.mean(scores[0])),
  }


def own_ranks(
  queries: Float[np.ndarray, "n D"],
  passages: Float[np.ndarray, "n D"],
  texts: Sequence[str],
) -> Int[np.ndarray, "n"]:
  """Rank of each query's own passage among all of another text, from 1."""
  _, numbers = np.unique(np.asarray(texts), return_inverse=True)
  ranks = []
  for start in range(0, len(queries), _ROWS):
    rows = np.arange(start, min(start + _ROWS, len(queries)))
    cosines = queries[rows] @ passages.T  # [b, n]
    own = cosines[np.arange(len(rows)), rows][:, None]
    others = numbers[rows][:, None] != numbers[None, :]
    ranks.append(1 + np.sum((cosines >= own - _TIE) & others, axis=1))
  return np.concatenate(ranks) if ranks else np.zeros(0, int)
