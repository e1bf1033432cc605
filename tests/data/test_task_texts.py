"""Pairs of a task as texts, with their places."""

import json

import pytest

from gtr_jax.data import task_names, task_texts
from gtr_jax.data.pair import EmptyTextError, Pair

LINES = [
  json.dumps({"query": "one", "positive": "first", "_id": "a"}),
  "no JSON",
  json.dumps({"query": " ", "positive": "empty"}),
  "\udcff",
  json.dumps({"query": "two", "positives": ["second", "third"]}),
]


@pytest.fixture
def file(tmp_path):
  path = tmp_path / "pairs.jsonl"
  path.write_bytes("\n".join(LINES).encode(errors="surrogateescape"))
  return path


def test_pairs_come_with_file_and_line(file):
  source = task_texts.placed_pairs(str(file), "skip", lambda note: None)
  assert source.tokenizer is None
  due = [
    (str(file), 1, Pair("one", ("first",), query_id="a")),
    (str(file), 5, Pair("two", ("second", "third"))),
  ]
  assert list(source.read()) == due
  assert list(source.read()) == due  # As often as it is asked.


def test_every_line_that_is_left_out_is_told(file):
  refused = []
  source = task_texts.placed_pairs(
    str(file), "skip", lambda note: None, lambda *seen: refused.append(seen)
  )
  list(source.read())
  assert [place for place, _ in refused] == [f"{file}:{n}" for n in (2, 3, 4)]
  kinds = [isinstance(error, EmptyTextError) for _, error in refused]
  assert kinds == [False, True, False]


def test_a_built_in_task_counts_its_examples(monkeypatch):
  pairs = [Pair("q", ("p",)), Pair("r", ("s",))]
  monkeypatch.setitem(
    task_names.BUILT_IN, "python_docs_stage1", lambda: iter(pairs)
  )
  source = task_texts.placed_pairs("python_docs_stage1")
  due = [
    ("python_docs_stage1", 1, pairs[0]),
    ("python_docs_stage1", 2, pairs[1]),
  ]
  assert list(source.read()) == due


def test_an_unknown_task_is_refused():
  with pytest.raises(ValueError, match="no task 'python_docs_stage3'"):
    task_texts.placed_pairs("python_docs_stage3")


def test_a_seqio_task_becomes_text_again(tmp_path):
  seqio = pytest.importorskip("seqio")
  from gtr_jax.data import tasks, vocabulary

  texts = ["green tea leaves", "coffee beans are ground", "milk and sugar"]
  tokenizer = vocabulary.train(texts * 20, 300)
  vocabulary.save(tokenizer, tmp_path)
  name = "doctor_task_texts"
  pairs = [
    Pair(texts[0], (texts[1],), (texts[2],), "q", ("p",), ("n",)),
    Pair(texts[1], (texts[2], texts[0])),
  ]
  try:
    tasks.pairs_task(name, lambda: pairs, tmp_path / vocabulary.MODEL_FILE)
    source = task_texts.placed_pairs(name)
    assert source.tokenizer is not None
    assert source.tokenizer.sha256 == tokenizer.sha256
    assert list(source.read()) == [(name, 1, pairs[0]), (name, 2, pairs[1])]
  finally:
    seqio.TaskRegistry.remove(name)
