"""Hard negatives by BM25: documents that look like answers and are none."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import cast

import numpy as np

from gtr_jax.data import overlap
from gtr_jax.data.documentation import Collection


def hard_negatives(
  collection: Collection, num_negatives: int, num_skipped: int
) -> dict[str, tuple[str, ...]]:
  """Ids of each query's best wrong documents, best first.

  A document that has a run of words in common with one of the query's answers
  is likely an answer itself and is passed over, as is one that has no word of
  the query.  So a query may have fewer negatives than asked for.

  Args:
    num_skipped: so many of the best ones are passed over, too: nobody has
      judged them, and some do answer the query.
  """
  runs = {
    document_id: frozenset(overlap.runs(text))
    for document_id, text in collection.documents.items()
  }
  found = {}
  rankings = _rankings(collection)
  for query_id, ranking in zip(collection.queries, rankings, strict=True):
    known = frozenset().union(
      *(runs[name] for name in collection.relevant[query_id])
    )
    wrong = (name for name in ranking if known.isdisjoint(runs[name]))
    found[query_id] = tuple(
      islice(wrong, num_skipped, num_skipped + num_negatives)
    )
  return found


def _rankings(collection: Collection) -> Iterator[Iterator[str]]:
  """Ids of all documents that share a word with a query, best first.

  Equal scores rank in the order of the documents.

  Source: BEIR's baseline, Lucene's BM25 with k1 0.9 and b 0.4 on Porter stems
  (https://arxiv.org/abs/2104.08663).
  """
  import bm25s  # Not needed by the other stages' users.

  ids = list(collection.documents)
  index = bm25s.BM25(method="lucene", k1=0.9, b=0.4)
  index.index(_stems(collection.documents.values()), show_progress=False)
  for stems in _stems(collection.queries.values()):
    scores = index.get_scores_from_ids(index.get_tokens_ids(stems))
    rows = np.flatnonzero(scores)
    order = rows[np.argsort(-scores[rows], kind="stable")]
    yield (ids[row] for row in order)


def _stems(texts: Iterable[str]) -> list[list[str]]:
  import bm25s
  import Stemmer

  stems = bm25s.tokenize(
    list(texts),
    stopwords="en",
    stemmer=Stemmer.Stemmer("porter"),
    return_ids=False,
    show_progress=False,
  )
  return cast(list[list[str]], stems)
