"""`gtr search`: from a query to hits, from a file of queries to a run."""

import json

import numpy as np
import pytest

from gtr_jax.retrieval import ranking, store
from gtr_jax.run import encode, model_directory, search

pytestmark = pytest.mark.usefixtures("quick_models")

TEXTS = {
  "d1": ("", "green tea leaves steep in hot water"),
  "d2": ("coffee", "beans are roasted\nand ground"),
  "d3": ("", "milk and sugar sweeten the cup \x1b[31m" + "very " * 100),
  "d4": ("", "green tea leaves steep in hot water"),
}
QUERIES = {"q1": "how to steep tea", "q2": "are coffee beans roasted"}


@pytest.fixture(scope="session")
def toy_store(toy_model, tmp_path_factory):
  directory = tmp_path_factory.mktemp("store")
  corpus = directory / "corpus.jsonl"
  corpus.write_text(
    "".join(
      json.dumps({"_id": key, "title": title, "text": text}) + "\n"
      for key, (title, text) in TEXTS.items()
    )
  )
  flags = {"model": toy_model, "input": corpus, "output": directory / "store"}
  assert not encode.main([f"--{name}={flag}" for name, flag in flags.items()])
  return directory / "store"


@pytest.fixture
def queries(tmp_path):
  path = tmp_path / "queries.jsonl"
  path.write_text(
    "".join(
      json.dumps({"_id": key, "text": text}) + "\n"
      for key, text in QUERIES.items()
    )
  )
  return path


@pytest.fixture
def gtr(capsys):
  def call(*arguments):
    """(exit status, printed lines, result or None, standard error)"""
    status = search.main([*map(str, arguments), "--json"])
    captured = capsys.readouterr()
    *lines, result = captured.out.splitlines() or [None]
    return status, lines, json.loads(result or "null"), captured.err

  return call


def expected_hits(model, directory, query, depth):
  encoder = model_directory.encoder(model)
  embeddings = store.load(directory).embeddings[:].astype(np.float64)
  scores = embeddings @ encoder.encode_queries([query])[0].astype(np.float64)
  order = np.argsort(-scores.round(6), kind="stable")[:depth]
  return [(list(TEXTS)[place], scores[place]) for place in order]


def test_a_query(toy_model, toy_store, gtr):
  flags = ("--model", toy_model, "--store", toy_store)
  status, lines, result, error = gtr(
    *flags, "--query", QUERIES["q1"], "--depth=3"
  )
  assert (status, error) == (0, "")
  expected = expected_hits(toy_model, toy_store, QUERIES["q1"], 3)
  assert [hit["id"] for hit in result["hits"]] == [hit[0] for hit in expected]
  np.testing.assert_allclose(
    [hit["score"] for hit in result["hits"]],
    [score for _, score in expected],
    atol=1e-6,
  )
  for hit in result["hits"]:
    assert hit.keys() == {"id", "score", "text"}
    assert hit["text"] == " ".join(TEXTS[hit["id"]]).strip()
  assert lines[0] == QUERIES["q1"]
  assert [line.split()[0] for line in lines[1:]] == ["1", "2", "3"]
  assert [line.split()[2] for line in lines[1:]] == [hit[0] for hit in expected]


def test_what_is_printed_is_one_plain_line_a_hit(toy_model, toy_store, gtr):
  flags = ("--model", toy_model, "--store", toy_store, "--query", "tea")
  status, lines, result, _ = gtr(*flags, "--depth=99")
  assert (status, len(lines), len(result["hits"])) == (0, 5, 4)
  assert all(len(line) < 240 and line.isprintable() for line in lines)
  assert any("coffee beans are roasted and ground" in line for line in lines)


def test_copies_come_in_the_order_of_the_corpus(toy_model, toy_store, gtr):
  flags = ("--model", toy_model, "--store", toy_store)
  _, _, result, _ = gtr(*flags, "--query", TEXTS["d1"][1])
  assert [hit["id"] for hit in result["hits"][:2]] == ["d1", "d4"]
  np.testing.assert_allclose(result["hits"][0]["score"], 1, atol=1e-5)


def test_a_file_of_queries_becomes_a_run(
  toy_model, toy_store, queries, tmp_path, gtr
):
  flags = ("--model", toy_model, "--store", toy_store, "--queries", queries)
  output = tmp_path / "new" / "run.trec"
  status, _, result, _ = gtr(*flags, "--output", output, "--depth=2")
  assert (status, result["run"]) == (0, str(output))
  read = ranking.read_run(output)
  assert list(read.query_ids) == list(QUERIES)
  for row, query in enumerate(QUERIES.values()):
    expected = expected_hits(toy_model, toy_store, query, 2)
    assert [hit[0] for hit in read.hits(row)] == [hit[0] for hit in expected]
  status, lines, result, _ = gtr(*flags, "--depth=2")
  assert (status, len(lines), len(result["hits"])) == (0, 6, 4)
  assert [hit["query"] for hit in result["hits"]] == ["q1", "q1", "q2", "q2"]


def test_another_model_is_refused_unless_allowed(toy_models, toy_store, gtr):
  flags = ("--model", toy_models[1], "--store", toy_store, "--query", "tea")
  status, _, result, error = gtr(*flags)
  assert (status, result) == (2, None)
  assert "--allow_other_model" in error and error.count("\n") == 1
  status, _, result, _ = gtr(*flags, "--allow_other_model")
  assert (status, len(result["hits"])) == (0, 4)


def test_a_long_query_is_told(toy_model, toy_store, gtr):
  flags = ("--model", toy_model, "--store", toy_store)
  status, _, _, error = gtr(*flags, "--query", "tea " * 9, "--query_length=4")
  assert status == 0
  assert error == "1 of 1 queries were cut to 4 tokens\n"


@pytest.mark.parametrize(
  ("flags", "message"),
  [
    ({"--depth": "0"}, "--depth is 0"),
    ({"--query": " "}, "--query is empty"),
    ({"--store": "."}, "is no embedding store"),
    ({"--model": "."}, "is no model directory"),
    ({"--output": "."}, "is a folder"),
    ({"--queries": "bad.jsonl"}, "bad.jsonl:1: 'text' is missing"),
    ({"--queries": "empty.jsonl"}, "there is no query in it"),
    ({"--queries": "nowhere.jsonl"}, "nowhere.jsonl: No such file"),
  ],
)
def test_mistakes(
  toy_model, toy_store, gtr, tmp_path, monkeypatch, flags, message
):
  monkeypatch.chdir(tmp_path)
  (tmp_path / "bad.jsonl").write_text('{"_id": "q"}\n')
  (tmp_path / "empty.jsonl").touch()
  default = {"--model": toy_model, "--store": toy_store}
  if "--queries" not in flags:
    default["--query"] = "tea"
  pairs = (default | flags).items()
  status, _, result, error = gtr(*[part for pair in pairs for part in pair])
  assert (status, result) == (2, None)
  assert message in error
  assert error.startswith("gtr search: ") and error.count("\n") == 1


def test_ids_that_a_run_cannot_hold(toy_model, tmp_path, gtr):
  corpus = tmp_path / "corpus.jsonl"
  corpus.write_text('{"_id": "two words", "text": "tea"}\n')
  flags = {"model": toy_model, "input": corpus, "output": tmp_path / "s"}
  assert not encode.main([f"--{name}={flag}" for name, flag in flags.items()])
  flags = ("--model", toy_model, "--store", tmp_path / "s", "--query=tea")
  status, _, result, _ = gtr(*flags)
  assert (status, result["hits"][0]["id"]) == (0, "two words")
  status, _, _, error = gtr(*flags, "--output", tmp_path / "run")
  assert status == 2 and "white space" in error
