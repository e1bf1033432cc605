"""What is written about results."""

import datetime
import json

import numpy as np
import pytest

from gtr_jax.evaluation import evaluate, measures, report
from gtr_jax.evaluation.collection import Collection
from gtr_jax.retrieval.ranking import Ranking


@pytest.fixture
def results():
  ids, text = ["d1", "d2"], ["a", "b"]
  queries, qrels = {"q1": "x", "q2": "y"}, {"q1": {"d1": 1}, "q2": {"d1": 1}}
  collection = Collection("toy", "dev", ids, ["", ""], text, queries, qrels)
  positions = np.array([[0, 1], [1, 0]])
  scores = np.array([[2, 1], [2, 1]], np.float32)
  ranking = Ranking(["q1", "q2"], ids, positions, scores)
  return evaluate.measure(
    ranking,
    collection,
    num_cut={"query": 1, "passage": 2},
    policy={"ties": "as listed"},
  )


def test_summary_has_the_promised_keys(results):
  summary = report.summary(results)
  assert set(summary) == {
    "queries",
    "corpus",
    "ndcg@10",
    "recall@100",
    "recall_cap@100",
    "mrr@10",
    "map@100",
    "truncated",
    "policy",
  }
  assert (summary["queries"], summary["corpus"]) == (2, 2)
  assert summary["mrr@10"] == 0.75
  assert summary["truncated"] == 3


def test_a_record_a_measure_says_what_made_it(results):
  records = report.records(results, {"model": "m", "checkpoint": "abc"})
  records = json.loads(json.dumps(records))
  assert [record["measure"] for record in records] == list(measures.NAMES)
  for record in records:
    assert record["value"] == results.means[record["measure"]]
    assert (record["dataset"], record["split"]) == ("toy", "dev")
    assert (record["model"], record["checkpoint"]) == ("m", "abc")
    assert record["policy"]["ties"] == "as listed"
    assert record["policy"]["qrels_sha256"] == results.collection.qrels_sha256
    assert record["policy"]["truncation_rate"] == {"query": 0.5, "passage": 1.0}
    assert record["gtr_jax"]
    assert datetime.datetime.fromisoformat(record["date"]).tzinfo


def test_each_query_has_a_record(results):
  first, second = report.query_records(results)
  assert (first["query_id"], first["mrr@10"]) == ("q1", 1.0)
  assert (second["query_id"], second["mrr@10"]) == ("q2", 0.5)


def test_the_average_counts_each_collection_once(results):
  one = report.summary(results)
  other = one | {"queries": 98, "mrr@10": 0.25, "truncated": 4}
  average = report.macro_average({"one": one, "other": other})
  assert average["mrr@10"] == 0.5
  assert (average["queries"], average["corpus"]) == (100, 4)
  assert average["truncated"] == 7
  assert average["datasets"]["other"]["mrr@10"] == 0.25
  unread = report.macro_average(
    {"one": one, "other": one | {"truncated": None}}
  )
  assert unread["truncated"] is None


def test_a_table_lines_up(results):
  rows = {"bm25": results.means, "a longer name": results.means}
  header, *body = report.table(rows).splitlines()
  assert len({len(line) for line in [header, *body]}) == 1
  assert header.split() == list(measures.NAMES)
  assert body[0].split()[0] == "bm25"
  assert body[0].split()[4] == "0.7500"
