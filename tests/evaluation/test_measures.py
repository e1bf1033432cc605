"""Each measure against its formula in float64, one query at a time."""

import itertools
import math

import numpy as np
import pytest

from gtr_jax.evaluation import measures

QRELS = {"a": {"p0": 1, "p3": 2, "p7": 0}, "b": {"p1": 1}}


def definition(ranking, judgements):
  """Every measure by the formula of its paper or of trec_eval."""
  gains = [max(judgements.get(passage, 0), 0) for passage in ranking]
  ideal = sorted((s for s in judgements.values() if s > 0), reverse=True)
  hits = [gain > 0 for gain in gains]
  first = next((rank for rank, hit in enumerate(hits, 1) if hit), math.inf)
  precisions = [
    sum(hits[:rank]) / rank for rank, hit in enumerate(hits[:100], 1) if hit
  ]

  def discounted(values):
    return math.fsum(
      value / math.log2(rank + 1) for rank, value in enumerate(values[:10], 1)
    )

  return {
    "ndcg@10": discounted(gains) / discounted(ideal),
    "recall@100": sum(hits[:100]) / len(ideal),
    "recall_cap@100": sum(hits[:100]) / min(len(ideal), 100),
    "mrr@10": 1 / first if first <= 10 else 0.0,
    "map@100": math.fsum(precisions) / len(ideal),
  }


def random_collection(rng, num_relevant):
  passages = [f"p{index}" for index in range(400)]
  qrels, run = {}, {}
  for query in map(str, range(20)):
    judged = rng.choice(passages, size=num_relevant + 30, replace=False)
    scores = np.concatenate(
      [
        rng.integers(1, 4, size=num_relevant),
        rng.integers(-1, 1, size=30),
      ]
    )
    qrels[query] = {str(p): int(s) for p, s in zip(judged, scores, strict=True)}
    run[query] = [str(p) for p in rng.permutation(passages)[:150]]
  return run, qrels


@pytest.mark.parametrize("num_relevant", [1, 5, 40, 130])
def test_measures_are_their_definitions(num_relevant):
  run, qrels = random_collection(np.random.default_rng(0), num_relevant)
  actual = measures.per_query(run, qrels)
  assert list(actual) == list(qrels)
  for query, values in actual.items():
    assert values == pytest.approx(
      definition(run[query], qrels[query]), abs=1e-12
    ), query


def test_known_values():
  run = {"a": ["p7", "p3", "p0"], "b": ["p9", "p8", "p1"]}
  actual = measures.per_query(run, QRELS)
  dcg = 2 / math.log2(3) + 1 / math.log2(4)
  assert actual["a"]["ndcg@10"] == pytest.approx(dcg / (2 + 1 / math.log2(3)))
  assert actual["a"]["mrr@10"] == pytest.approx(1 / 2)
  assert actual["a"]["map@100"] == pytest.approx((1 / 2 + 2 / 3) / 2)
  assert actual["b"]["mrr@10"] == pytest.approx(1 / 3)
  assert measures.means(actual)["mrr@10"] == pytest.approx((1 / 2 + 1 / 3) / 2)


def test_every_measure_sees_the_order_of_the_list():
  """No order of ids changes a value: names cannot break a tie."""
  for names in itertools.permutations(["x", "m", "b"]):
    ranking = [*names]
    values = measures.per_query({"q": ranking}, {"q": {ranking[1]: 1}})["q"]
    assert values["mrr@10"] == pytest.approx(1 / 2)
    assert values["map@100"] == pytest.approx(1 / 2)
    assert values["ndcg@10"] == pytest.approx(1 / math.log2(3))


def test_mrr_is_cut_at_ten():
  ranking = [f"p{index}" for index in range(20)]
  tenth = measures.per_query({"q": ranking}, {"q": {"p9": 1}})["q"]
  eleventh = measures.per_query({"q": ranking}, {"q": {"p10": 1}})["q"]
  assert tenth["mrr@10"] == pytest.approx(1 / 10)
  assert eleventh["mrr@10"] == 0
  assert eleventh["map@100"] == pytest.approx(1 / 11)


def test_missing_queries_count_zero_or_not_at_all():
  run = {"b": ["p1"], "unjudged": ["p1"]}
  zero = measures.per_query(run, QRELS)
  assert zero["a"] == dict.fromkeys(measures.NAMES, 0.0)
  assert measures.means(zero)["ndcg@10"] == pytest.approx(1 / 2)
  skip = measures.per_query(run, QRELS, missing="skip")
  assert list(skip) == ["b"]
  assert measures.means(skip)["ndcg@10"] == pytest.approx(1)


def test_a_query_that_found_nothing_is_not_missing():
  run = {"a": [], "b": ["p1"]}
  for missing in ("zero", "skip"):
    values = measures.per_query(run, QRELS, missing)
    assert values["a"] == dict.fromkeys(measures.NAMES, 0.0)


def test_capped_recall_can_be_one_where_recall_cannot():
  ranking = [f"p{index}" for index in range(150)]
  qrels = {"q": {f"p{index}": 1 for index in range(120)}}
  values = measures.per_query({"q": ranking}, qrels)["q"]
  assert values["recall_cap@100"] == 1
  assert values["recall@100"] == pytest.approx(100 / 120)


def test_refuses_what_cannot_be_measured():
  with pytest.raises(ValueError, match="passage twice"):
    measures.per_query({"a": ["p0", "p0"]}, QRELS)
  with pytest.raises(ValueError, match="none of the 2 judged queries"):
    measures.per_query({"z": ["p0"]}, QRELS)
