"""`gtr evaluate`: from a command line to a line of JSON, and its mistakes."""

import functools
import json
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest

from gtr_jax.run import evaluate, model_facts

KEYS = {
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
TEXTS = {
  "d1": "green tea leaves steep in hot water",
  "d2": "coffee beans are roasted and ground",
  "d3": "milk and sugar sweeten the cup",
}
QUERIES = {"q1": "how to steep tea leaves", "q2": "are coffee beans roasted"}


def write_lines(path, records):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text("".join(json.dumps(record) + "\n" for record in records))


def write_beir(folder, texts=TEXTS):
  passages = [{"_id": key, "title": "", "text": t} for key, t in texts.items()]
  queries = [{"_id": key, "text": text} for key, text in QUERIES.items()]
  write_lines(folder / "corpus.jsonl", passages)
  write_lines(folder / "queries.jsonl", queries)
  (folder / "qrels").mkdir(exist_ok=True)
  (folder / "qrels" / "test.tsv").write_text("q1\td1\t1\nq2\td2\t1\n")
  return folder


@pytest.fixture
def data(tmp_path):
  return write_beir(tmp_path / "toy")


@pytest.fixture
def gtr(call_program):
  return functools.partial(call_program, evaluate.main)


def run_lines(ranked):
  return "".join(
    f"{query} Q0 {passage} {rank} {score} tag\n"
    for query, passages in ranked.items()
    for rank, (passage, score) in enumerate(passages, start=1)
  )


def test_bm25(data, gtr):
  status, result, error = gtr("--bm25", "--data", data)
  assert (status, error) == (0, "")
  assert set(result) == KEYS
  assert (result["queries"], result["corpus"]) == (2, 3)
  assert result["ndcg@10"] == 1
  assert result["truncated"] is None
  assert "Lucene" in result["policy"]["bm25"]


def test_a_run_is_ranked_by_score_then_by_rank(data, tmp_path, gtr):
  tied = {
    "q1": [("d3", 1.0), ("d1", 1.0), ("d2", 1.0)],
    "q2": [("d1", 0.1), ("d2", 0.9), ("d3", 0.5)],
  }
  (tmp_path / "tied.trec").write_text(run_lines(tied))
  status, result, _ = gtr("--run", tmp_path / "tied.trec", "--data", data)
  assert status == 0
  assert result["mrr@10"] == 0.75
  assert result["map@100"] == 0.75
  assert result["ndcg@10"] == pytest.approx((1 + 1 / np.log2(3)) / 2, abs=1e-5)
  assert result["policy"]["ties"] == "score, then the rank column"


def test_missing_queries(data, tmp_path, gtr):
  (tmp_path / "run").write_text(run_lines({"q1": [("d1", 1.0)]}))
  arguments = ("--run", tmp_path / "run", "--data", data)
  assert gtr(*arguments)[1]["ndcg@10"] == 0.5
  _, result, _ = gtr(*arguments, "--missing_queries", "skip")
  assert result["ndcg@10"] == 1
  assert result["policy"]["missing_queries"] == "skip"
  assert result["policy"]["num_missing_queries"] == 1


def test_a_model(data, toy_model, tmp_path, gtr):
  run, output = tmp_path / "out/model.trec", tmp_path / "out/results.jsonl"
  arguments = ["--model", toy_model, "--data", data, "--passage_length", 4]
  status, result, error = gtr(*arguments, "--save_run", run, "--output", output)
  assert status == 0, error
  assert set(result) == KEYS
  assert result["policy"]["query_length"] == 64
  assert result["policy"]["passage_length"] == 4
  assert result["policy"]["truncation_rate"] == {"query": 0, "passage": 1}
  assert result["truncated"] == 3
  # The run that was saved has the same measures.
  again = gtr("--run", run, "--data", data)[1]
  for name in KEYS - {"truncated", "policy"}:
    assert again[name] == result[name], name
  records = [json.loads(line) for line in output.read_text().splitlines()]
  assert {record["measure"] for record in records} == {
    "ndcg@10",
    "recall@100",
    "recall_cap@100",
    "mrr@10",
    "map@100",
  }
  for record in records:
    assert record["value"] == pytest.approx(result[record["measure"]], abs=1e-5)
    assert record["checkpoint"]
    assert record["step"] == 0


def test_recorded_results_stay_with_the_model(toy_model, tmp_path, gtr):
  folder = tmp_path / "model"
  shutil.copytree(toy_model, folder)
  arguments = ["--model", folder, "--record", "--data"]
  first = gtr(*arguments, write_beir(tmp_path / "one"))[1]
  gtr(*arguments, write_beir(tmp_path / "two"))
  gtr(*arguments, tmp_path / "one")
  lines = (folder / "results.jsonl").read_text().splitlines()
  records = [json.loads(line) for line in lines]
  assert len(records) == 10
  assert {record["dataset"] for record in records} == {"one", "two"}
  read = model_facts.read(folder, records[0]["checkpoint"])
  values = {r["measure"]: r["value"] for r in read.results[:5]}
  assert values["mrr@10"] == pytest.approx(first["mrr@10"], abs=1e-5)
  assert (len(read.results), read.num_others) == (10, 0)
  assert model_facts.read(folder, "another").num_others == 10
  with pytest.raises(ValueError, match="holds no result of this checkpoint, a"):
    model_facts.read(toy_model, "another", [str(folder / "results.jsonl")])


def test_a_ledger_that_is_none_is_told_before_the_work(data, tmp_path, gtr):
  (tmp_path / "results.jsonl").write_text("{}\n")
  status, _, error = gtr("--model", tmp_path, "--data", data, "--record")
  assert status == 2 and "results.jsonl:1: 'dataset' is None" in error


def test_only_a_model_keeps_records(data, gtr):
  status, _, error = gtr("--bm25", "--data", data, "--record")
  assert status == 2 and "use --output" in error


def test_lengths_follow_the_name_of_the_folder(toy_model, tmp_path, gtr):
  data = write_beir(tmp_path / "arguana")
  policy = gtr("--model", toy_model, "--data", data)[1]["policy"]
  assert (policy["query_length"], policy["passage_length"]) == (512, 512)
  exception = ("--length_exception", "arguana=32:96")
  policy = gtr("--model", toy_model, "--data", data, *exception)[1]["policy"]
  assert (policy["query_length"], policy["passage_length"]) == (32, 96)


def test_a_folder_of_collections_is_averaged(tmp_path, gtr):
  """As CQADupStack, each collection counts once."""
  write_beir(tmp_path / "set/good")
  swapped = {"d2": TEXTS["d1"], "d1": TEXTS["d2"], "d3": TEXTS["d3"]}
  write_beir(tmp_path / "set/bad", swapped)
  arguments = ["--bm25", "--data", tmp_path / "set"]
  status, result, _ = gtr(*arguments, "--save_run", tmp_path / "runs")
  assert status == 0
  assert set(result) >= KEYS
  assert list(result["datasets"]) == ["bad", "good"]
  assert result["datasets"]["good"]["mrr@10"] == 1
  assert result["datasets"]["bad"]["mrr@10"] == 0
  assert result["mrr@10"] == 0.5
  assert (result["queries"], result["corpus"]) == (4, 6)
  status, again, error = gtr(
    "--run", tmp_path / "runs", "--data", tmp_path / "set"
  )
  # A query for which BM25 finds nothing right is still in the run.
  assert status == 0, error
  assert again["mrr@10"] == 0.5


def test_each_querys_measures(data, tmp_path, gtr):
  output = tmp_path / "queries.jsonl"
  gtr("--bm25", "--data", data, "--per_query", output)
  records = [json.loads(line) for line in output.read_text().splitlines()]
  assert [record["query_id"] for record in records] == ["q1", "q2"]
  assert all(record["ndcg@10"] == 1 for record in records)


def test_bad_lines_stop_or_are_counted(data, gtr):
  with (data / "qrels" / "test.tsv").open("a") as stream:
    stream.write("q1\tnowhere\t1\n")
  status, result, error = gtr("--bm25", "--data", data)
  assert (status, result) == (2, None)
  assert "test.tsv:3: 'nowhere' is not in corpus.jsonl" in error
  assert len(error.splitlines()) == 1
  status, result, error = gtr("--bm25", "--data", data, "--on_bad_line", "skip")
  assert status == 0
  assert result["policy"]["num_skipped_lines"] == 1
  assert "skipped 1 lines" in error


def test_ids_that_no_run_can_hold_are_refused_first(tmp_path, gtr):
  data = write_beir(tmp_path / "toy", TEXTS | {"d 4": "more"})
  arguments = ("--bm25", "--data", data)
  assert gtr(*arguments)[0] == 0
  status, _, error = gtr(*arguments, "--save_run", tmp_path / "run")
  assert (status, "'d 4' has white space" in error) == (2, True)


@pytest.mark.parametrize(
  "arguments, message",
  [
    (["--bm25", "--data", "{tmp}/absent"], "no such folder"),
    (["--bm25", "--data", "{data}", "--split", "dev"], "its splits are test"),
    (["--run", "{tmp}/absent", "--data", "{data}"], "No such file"),
    (["--model", "{tmp}/absent", "--data", "{data}"], "is no model directory"),
    (["--bm25", "--data", "{data}", "--depth", "10"], "recall@100 needs 100"),
    (["--bm25", "--data", "{data}", "--output", "{tmp}"], "is a folder"),
  ],
)
def test_mistakes_are_one_line(data, tmp_path, gtr, arguments, message):
  filled = [a.format(tmp=tmp_path, data=data) for a in arguments]
  status, result, error = gtr(*filled)
  assert (status, result) == (2, None)
  assert message in error
  assert len(error.splitlines()) == 1


def test_help_loads_nothing_heavy():
  code = (
    "import sys; from gtr_jax.run import evaluate, mine\n"
    "assert not {'jax', 'numpy', 'bm25s', 'pytrec_eval'} & set(sys.modules)"
  )
  root = pathlib.Path(__file__).parents[2]
  subprocess.run([sys.executable, "-c", code], cwd=root, check=True)
