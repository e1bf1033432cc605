"""BM25 over a list of texts, by the bm25s library."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

if TYPE_CHECKING:
  import bm25s

# For the policy of a result.
SETTINGS = (
  "bm25s, Lucene variant, k1 0.9, b 0.4, Porter stemmer, English stop words"
)


@dataclass(frozen=True)
class BM25:
  """An index of the words of some texts; make it with `build`."""

  index: "bm25s.BM25"
  num_texts: int

  def scores(self, query: str) -> np.ndarray:
    """Score of every text, float32 [C]; 0 where no word is shared."""
    return self._scores(words([query])[0])

  def rankings(
    self, queries: Sequence[str], depth: int | None = None
  ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Places and scores of the best texts for each query, best first.

    Of equal scores the first in the list comes first.  Texts that share no
    word with the query are not found.

    Args:
      depth: so many at most; None is all.
    """
    for query in words(queries):
      scores = self._scores(query)
      found = _best(scores, self.num_texts if depth is None else depth)
      yield found, scores[found]

  def search(
    self, queries: Sequence[str], depth: int
  ) -> tuple[np.ndarray, np.ndarray]:
    """The same as arrays: places int64 and scores float32, both [Q, R].

    -1 and -inf fill the places of what is not found.
    """
    depth = min(depth, self.num_texts)
    places = np.full((len(queries), depth), -1, np.int64)
    scores = np.full((len(queries), depth), -np.inf, np.float32)
    for row, (found, best) in enumerate(self.rankings(queries, depth)):
      places[row, : len(found)] = found
      scores[row, : len(found)] = best
    return places, scores

  def _scores(self, query: Sequence[str]) -> np.ndarray:
    known = self.index.get_tokens_ids(list(query))
    if not known:
      return np.zeros(self.num_texts, np.float32)
    return self.index.get_scores_from_ids(known)


def build(texts: Sequence[str], k1: float = 0.9, b: float = 0.4) -> BM25:
  """Indexes texts; title and text of a passage already joined.

  Source: Lucene's BM25 as in Kamphuis et al., 2020
  (https://doi.org/10.1007/978-3-030-45442-5_4), by the bm25s library; k1 and b
  are Anserini's, which BEIR's baseline is (https://arxiv.org/abs/2104.08663).

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
  """Rows of the `depth` best scores above 0, ties in the texts' order."""
  rows = np.flatnonzero(scores > 0)
  if len(rows) > depth:
    least = np.partition(scores, -depth)[-depth]
    rows = rows[scores[rows] >= least]
  return rows[np.argsort(-scores[rows], kind="stable")][:depth]
