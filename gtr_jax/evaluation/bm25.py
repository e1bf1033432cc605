"""The baseline that a dense retriever has to beat."""

from gtr_jax import bm25
from gtr_jax.evaluation.collection import Collection
from gtr_jax.retrieval.ranking import Ranking

# For the policy of a result.
SETTINGS = f"{bm25.SETTINGS}, title and text in one field"


def rank(collection: Collection, depth: int) -> Ranking:
  """The BM25 ranking of a collection, title and text in one field."""
  queries = list(collection.queries.values())
  positions, scores = bm25.build(collection.passages).search(queries, depth)
  return Ranking(list(collection.queries), collection.ids, positions, scores)
