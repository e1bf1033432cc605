"""Hard negatives by BM25: documents that look like answers and are none."""

from itertools import islice

from gtr_jax import bm25
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
  ids, found = list(collection.documents), {}
  index = bm25.build(list(collection.documents.values()))
  rankings = index.rankings(list(collection.queries.values()))
  for query_id, (rows, _) in zip(collection.queries, rankings, strict=True):
    known = frozenset().union(
      *(runs[name] for name in collection.relevant[query_id])
    )
    ranking = (ids[row] for row in rows)
    wrong = (name for name in ranking if known.isdisjoint(runs[name]))
    found[query_id] = tuple(
      islice(wrong, num_skipped, num_skipped + num_negatives)
    )
  return found
