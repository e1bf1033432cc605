"""A ranking, or a model that makes one, to measures on a test collection."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from jax.sharding import Mesh

from gtr_jax.evaluation import measures
from gtr_jax.evaluation.collection import Collection
from gtr_jax.retrieval import exact
from gtr_jax.retrieval.ranking import Ranking
from gtr_jax.types import TowerName

CORPUS_ORDER = "score, then place in the corpus"
RUN_ORDER = "score, then the rank column"


class Encoder(Protocol):
  """What evaluation asks of a model; `retrieval.encode.Encoder` is one."""

  @property
  def query_length(self) -> int: ...

  @property
  def passage_length(self) -> int: ...

  @property
  def mesh(self) -> Mesh | None:
    """Devices that share the work; None takes one."""
    ...

  def encode_texts(
    self,
    texts: Sequence[str],
    tower: TowerName,
    report: Callable[[int], None] | None = None,
  ) -> tuple[np.ndarray, int]:
    """Float32 embeddings [n, D], and how many texts were cut."""
    ...


@dataclasses.dataclass(frozen=True)
class Results:
  """Measures of one ranking on one collection, and how they were taken.

  Attributes:
    collection: what was searched.
    ranking: what was measured: no own ids, no deeper than asked.
    per_query: the measures of each query that counts, for tests of
      significance.
    num_cut: queries and passages that were longer than the model read; None
      where no model read them.
    policy: every choice that moves the figures, in words and numbers.
  """

  collection: Collection = dataclasses.field(repr=False)
  ranking: Ranking = dataclasses.field(repr=False)
  per_query: measures.PerQuery = dataclasses.field(repr=False)
  num_cut: Mapping[TowerName, int] | None
  policy: Mapping[str, Any]

  @functools.cached_property
  def means(self) -> dict[str, float]:
    """The mean of each measure over the queries that count."""
    return measures.means(self.per_query)

  @property
  def truncation_rate(self) -> dict[TowerName, float] | None:
    """Share of the queries and of the passages that were cut."""
    if self.num_cut is None:
      return None
    return {
      "query": self.num_cut["query"] / len(self.collection.queries),
      "passage": self.num_cut["passage"] / len(self.collection.ids),
    }


def evaluate(
  encoder: Encoder,
  collection: Collection,
  depth: int = measures.DEPTH,
  report: Callable[[int], None] | None = None,
) -> Results:
  """Encodes and searches a whole collection and measures the result.

  Queries and passages keep their shapes from call to call, so that only the
  first call with one model compiles.

  Args:
    depth: passages kept a query, 100 or more.
    report: called with numbers of encoded texts; they add up to all queries
      and passages.
  """
  queries = list(collection.queries.values())
  query_embeddings, cut_queries = encoder.encode_texts(queries, "query", report)
  embeddings, cut_passages = encoder.encode_texts(
    collection.passages, "passage", report
  )
  index = exact.ExactIndex(embeddings, collection.ids, encoder.mesh)
  # One more, since a passage with the query's own id may be among them.
  found = index.search(query_embeddings, depth + 1, list(collection.queries))
  return measure(
    found,
    collection,
    depth,
    num_cut={"query": cut_queries, "passage": cut_passages},
    policy={
      "ties": CORPUS_ORDER,
      "title": "title, a space, text",
      "query_length": encoder.query_length,
      "passage_length": encoder.passage_length,
    },
  )


def measure(
  ranking: Ranking,
  collection: Collection,
  depth: int = measures.DEPTH,
  missing: measures.Missing = "zero",
  num_cut: Mapping[TowerName, int] | None = None,
  policy: Mapping[str, Any] | None = None,
) -> Results:
  """Measures a ranking, its order as it stands.

  Args:
    missing: what a query counts that the ranking lacks.
    num_cut, policy: how the ranking was made, for the record.
  """
  if depth < measures.DEPTH:
    raise ValueError(
      f"depth is {depth}: recall@100 needs rankings of {measures.DEPTH}"
    )
  num_unknown = _num_unknown(ranking, collection)
  ranking = without_own_ids(ranking, depth)
  run = ranking.passage_ids()
  results = Results(
    collection,
    ranking,
    measures.per_query(run, collection.qrels, missing),
    num_cut,
    policy={},
  )
  num_missing = sum(query not in run for query in collection.queries)
  own_policy = {
    "missing_queries": missing,
    "num_missing_queries": num_missing,
    "num_unknown_passages": num_unknown,
    "depth": ranking.positions.shape[1],
    "own_id": "a passage with the query's id is dropped, as in BEIR",
    "relevant": "score above 0; queries without a relevant passage left out",
    "num_queries_left_out": collection.num_unanswered,
    "gain": "linear, as trec_eval",
    "qrels_sha256": collection.qrels_sha256,
    "num_empty_passages": collection.num_empty,
    "num_skipped_lines": collection.num_skipped,
    "truncation_rate": results.truncation_rate,
  }
  return dataclasses.replace(results, policy={**(policy or {}), **own_policy})


def without_own_ids(ranking: Ranking, depth: int) -> Ranking:
  """The first `depth` passages a query, none with the id of the query.

  BEIR drops such passages: in some of its sets a query is a passage too, and
  finds itself.
  """
  wanted = set(ranking.query_ids)
  places = {
    passage: place
    for place, passage in enumerate(ranking.corpus_ids)
    if passage in wanted
  }
  nowhere = -2
  own = np.array([places.get(query, nowhere) for query in ranking.query_ids])
  is_own = ranking.positions == own[:, None]  # [Q, R]
  order = np.argsort(is_own, axis=1, kind="stable")[:, :depth]
  positions = np.where(is_own, -1, ranking.positions)
  scores = np.where(is_own, np.float32(-np.inf), ranking.scores)
  return Ranking(
    ranking.query_ids,
    ranking.corpus_ids,
    np.take_along_axis(positions, order, axis=1),
    np.take_along_axis(scores, order, axis=1),
  )


def _num_unknown(ranking: Ranking, collection: Collection) -> int:
  """Ranked passages that the corpus lacks."""
  if ranking.corpus_ids is collection.ids:
    return 0
  unknown = set(ranking.corpus_ids).difference(collection.ids)
  if len(unknown) == len(ranking.corpus_ids):
    raise ValueError(
      f"none of the {len(unknown)} ranked passages is in the corpus of"
      f" {collection.name}: the run is of another data set"
    )
  return len(unknown)
