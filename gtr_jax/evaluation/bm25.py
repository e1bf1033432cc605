"""BM25, the baseline that a dense retriever has to beat, and its negatives."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from gtr_jax.evaluation.collection import Collection
from gtr_jax.retrieval import encode
from gtr_jax.retrieval.ranking import Ranking

if TYPE_CHECKING:
  import bm25s

# For the policy of a result.
SETTINGS = (
  "bm25s, Lucene variant, k1 0.9, b 0.4, Porter stemmer, English stop words,"
  " title and text in one field"
)


@dataclass(frozen=True)
class BM25:
  """An index of the words of a corpus; build it with `build`."""

  index: "bm25s.BM25"
  num_passages: int

  def scores(self, query: str) -> np.ndarray:
    """Score of every passage, float32 [C]; 0 where no word is shared."""
    return self._scores(words([query])[0])

  def search(
    self, queries: Sequence[str], depth: int
  ) -> tuple[np.ndarray, np.ndarray]:
    """Positions int64 and scores float32 [Q, R] of the best passages.

    Of equal scores the first in the corpus comes first.  Passages that share
    no word with the query are not found: -1 and -inf fill their places.
    """
    depth = min(depth, self.num_passages)
    positions = np.full((len(queries), depth), -1, np.int64)
    scores = np.full((len(queries), depth), -np.inf, np.float32)
    for row, query in enumerate(words(queries)):
      of_all = self._scores(query)
      found = _best(of_all, depth)
      positions[row, : len(found)] = found
      scores[row, : len(found)] = of_all[found]
    return positions, scores

  def _scores(self, query: Sequence[str]) -> np.ndarray:
    known = self.index.get_tokens_ids(list(query))
    if not known:
      return np.zeros(self.num_passages, np.float32)
    return self.index.get_scores_from_ids(known)


def rank(collection: Collection, depth: int) -> Ranking:
  """The BM25 ranking of a collection, title and text in one field."""
  texts = [encode.join_title(passage) for passage in collection.passages]
  queries = list(collection.queries.values())
  positions, scores = build(texts).search(queries, depth)
  return Ranking(list(collection.queries), collection.ids, positions, scores)


def build(texts: Sequence[str], k1: float = 0.9, b: float = 0.4) -> BM25:
  """Indexes passages, title and text already joined.

  Source: Lucene's BM25 as in Kamphuis et al., 2020
  (https://doi.org/10.1007/978-3-030-45442-5_4), by the bm25s library; k1 and b
  are Anserini's, which BEIR's baseline is.

  Raises:
    ValueError: there is no word to index.
  """
  import bm25s

  # It sets its logger to DEBUG, which other libraries' handlers print.
  logging.getLogger("bm25s").setLevel(logging.WARNING)
  tokens = words(texts)
  if not any(tokens):
    raise ValueError(
      f"BM25 finds no word in the {len(texts)} passages: words of two letters"
      " or more that are no stop words were due"
    )
  index = bm25s.BM25(method="lucene", k1=k1, b=b)
  index.index(tokens, show_progress=False)
  return BM25(index, len(texts))


def words(texts: Sequence[str]) -> list[list[str]]:
  """Lower-case words of two letters or more, no stop words, Porter stems."""
  import bm25s
  import Stemmer

  tokens = bm25s.tokenize(
    list(texts),
    stopwords="en",
    stemmer=Stemmer.Stemmer("porter"),
    return_ids=False,
    show_progress=False,
  )
  return cast(list[list[str]], tokens)


def _best(scores: np.ndarray, depth: int) -> np.ndarray:
  """Rows of the `depth` best scores above 0, ties in the passages' order."""
  rows = np.flatnonzero(scores > 0)
  if len(rows) > depth:
    least = np.partition(scores, -depth)[-depth]
    rows = rows[scores[rows] >= least]
  return rows[np.argsort(-scores[rows], kind="stable")][:depth]
