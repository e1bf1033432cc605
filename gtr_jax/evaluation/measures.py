"""Retrieval measures, all taken from one order of the passages.

trec_eval sorts by score and breaks ties by passage id, other tools by the
opposite order of ids or by the order in the file, so that one run with ties has
several values of one measure.  Here a run is a list of passage ids a query,
best first, and that list is the order for every measure: the reference
implementation (pytrec_eval) is given the ranks, which have no ties, for scores.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

Run = Mapping[str, Sequence[str]]
Qrels = Mapping[str, Mapping[str, int]]
Missing = Literal["zero", "skip"]
PerQuery = dict[str, dict[str, float]]

NAMES = ("ndcg@10", "recall@100", "recall_cap@100", "mrr@10", "map@100")
DEPTH = 100  # No measure looks further down a ranking.


def per_query(run: Run, qrels: Qrels, missing: Missing = "zero") -> PerQuery:
  """The measures of every judged query, in the order of the qrels.

  Args:
    run: passage ids a query, best first and distinct.  Queries without
      judgements are ignored.
    qrels: judgement of each judged passage; relevant is a score above 0.
    missing: what a judged query that the run lacks counts: 0 in every measure,
      or nothing at all, as in BEIR, which divides by the queries of the run.

  Raises:
    ValueError: the run has a passage twice, or no judged query.
  """
  _check(run, qrels)
  present = {query: run[query] for query in qrels if query in run}
  reference = _reference(present, qrels)
  results: PerQuery = {}
  for query, judgements in qrels.items():
    if query in present:
      capped = capped_recall(present[query], judgements)
      results[query] = reference[query] | {"recall_cap@100": capped}
    elif missing == "zero":
      results[query] = dict.fromkeys(NAMES, 0.0)
  return {
    query: {name: values[name] for name in NAMES}
    for query, values in results.items()
  }


def means(values: PerQuery) -> dict[str, float]:
  """The mean of each measure over the queries."""
  return {
    name: sum(row[name] for row in values.values()) / len(values)
    for name in NAMES
  }


def capped_recall(
  ranking: Sequence[str], judgements: Mapping[str, int], depth: int = DEPTH
) -> float:
  """Relevant passages in the top `depth`, over as many as could be there.

  Source: `recall_cap` of BEIR (https://github.com/beir-cellar/beir), which
  Table 8 of the GTR paper (https://arxiv.org/abs/2112.07899) reports.
  """
  relevant = {passage for passage, score in judgements.items() if score > 0}
  hits = sum(passage in relevant for passage in ranking[:depth])
  return hits / min(len(relevant), depth) if relevant else 0.0


def _reference(run: Run, qrels: Qrels) -> PerQuery:
  """nDCG@10, Recall@100, MAP@100 and MRR@10 by trec_eval's own code."""
  whole = _trec_eval(run, qrels, {"ndcg_cut.10", "recall.100", "map_cut.100"})
  # recip_rank knows no cut: the ranking is cut instead.
  top = {query: ranking[:10] for query, ranking in run.items()}
  first = _trec_eval(top, qrels, {"recip_rank"})
  return {
    query: {
      "ndcg@10": whole[query].get("ndcg_cut_10", 0.0),
      "recall@100": whole[query].get("recall_100", 0.0),
      "map@100": whole[query].get("map_cut_100", 0.0),
      "mrr@10": first[query].get("recip_rank", 0.0),
    }
    for query in run
  }


def _trec_eval(run: Run, qrels: Qrels, names: set[str]) -> PerQuery:
  """trec_eval's values; a query without any passage has none."""
  import pytrec_eval

  judged = {query: dict(qrels[query]) for query in run}
  scores = {
    query: {
      passage: float(len(ranking) - rank)
      for rank, passage in enumerate(ranking)
    }
    for query, ranking in run.items()
    if ranking
  }
  values = pytrec_eval.RelevanceEvaluator(judged, names).evaluate(scores)
  return {query: values.get(query, {}) for query in run}


def _check(run: Run, qrels: Qrels) -> None:
  if not any(query in run for query in qrels):
    raise ValueError(
      f"none of the {len(qrels)} judged queries is among the {len(run)} of the"
      " run: check that both are of the same data set and split"
    )
  for query, ranking in run.items():
    if len(set(ranking)) < len(ranking):
      raise ValueError(
        f"the ranking of query {query!r} has a passage twice: keep its first"
      )
