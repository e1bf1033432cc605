import gzip
import json
import os
from typing import Any

import numpy as np
import pytest

from gtr_jax.data import examples, sources, task_names, vocabulary
from gtr_jax.data.pair import Pair

RECORDS = [
  {"query": "what is json", "positive": "JSON is a text format for data."},
  {
    "query": "parse a date",
    "positives": ["Use strptime to parse a date.", "Call fromisoformat."],
    "negatives": ["A date is a fruit of the palm tree."],
  },
  {"query": "sort a list", "positive": "Call sorted on any iterable." * 20},
]


@pytest.fixture(scope="module")
def tokenizer():
  texts = [json.dumps(record) for record in RECORDS]
  return vocabulary.train(texts, 320)


@pytest.fixture
def path(tmp_path):
  return write(tmp_path / "pairs.jsonl", RECORDS)


def write(path, records):
  path.write_text("".join(json.dumps(record) + "\n" for record in records))
  return path


def open_store(task, directory, tokenizer=None, **options):
  """The store of one task."""
  made = {
    "lengths": {"inputs": 16, "targets": 32},
    "vocab_size": 320,
    **options,
  }
  opening = examples.Opening(directory=directory, **made)
  mixture, tokenizer = examples.open_tasks(str(task), opening, tokenizer)
  (part,) = mixture.parts
  return part.store, tokenizer


def decoded(store, tokenizer, example):
  first, last = store.example_offsets[example : example + 2]
  rows = store.token_rows(np.arange(first, last), 64)
  return [tokenizer.decode(row) for row in rows]


def test_a_file_by_its_path(path, tmp_path, tokenizer):
  store, same = open_store(path, tmp_path / "stores", tokenizer=tokenizer)
  assert same is tokenizer
  assert store.lengths == {"query": 16, "passage": 32}
  assert decoded(store, tokenizer, 1) == [
    "parse a date",
    "Use strptime to parse a date.",
    "Call fromisoformat.",
    "A date is a fruit of the palm tree.",
  ]
  assert store.num_positives.tolist() == [1, 2, 1]
  assert store.statistics.num_cut == {"query": 0, "passage": 1}
  assert store.text_offsets[-1] - store.text_offsets[-2] == 32
  assert store.tokens[-1] == tokenizer.eos_id


def test_several_files_and_patterns(tmp_path, tokenizer):
  write(tmp_path / "b.jsonl", RECORDS[:1])
  write(tmp_path / "a.jsonl", RECORDS[1:2])
  (tmp_path / "c.jsonl.gz").write_bytes(
    gzip.compress((json.dumps(RECORDS[2]) + "\n").encode())
  )
  task = f"{tmp_path}/?.jsonl, {tmp_path}/c.jsonl.gz"
  store, _ = open_store(task, tmp_path / "stores", tokenizer=tokenizer)
  queries = [decoded(store, tokenizer, number)[0] for number in range(3)]
  assert queries == ["parse a date", "what is json", "sort a list"]


def test_without_a_tokenizer_one_is_trained_once(path, tmp_path, monkeypatch):
  store, trained = open_store(path, tmp_path / "stores")
  assert decoded(store, trained, 0)[0] == "what is json"
  monkeypatch.setattr(vocabulary, "train", None)
  again, loaded = open_store(path, tmp_path / "stores")
  assert loaded.sha256 == trained.sha256
  assert again.content == store.content


def count(directory):
  return len([p for p in directory.iterdir() if (p / "manifest.json").exists()])


def test_what_is_unchanged_is_found_again(path, tmp_path, tokenizer):
  stores = tmp_path / "stores"
  for _ in range(2):
    open_store(path, stores, tokenizer=tokenizer)
  open_store(
    path, stores, tokenizer=tokenizer, lengths={"query": 16, "passage": 32}
  )
  assert count(stores) == 1


def test_what_is_changed_is_built_again(path, tmp_path, tokenizer):
  stores = tmp_path / "stores"
  prompted = vocabulary.Tokenizer(tokenizer.model_bytes, "q: ")
  made = [open_store(path, stores, tokenizer=tokenizer)[0]]
  made.append(open_store(path, stores, tokenizer=prompted)[0])
  shorter = {"inputs": 16, "targets": 31}
  made.append(open_store(path, stores, tokenizer=tokenizer, lengths=shorter)[0])
  write(path, RECORDS[:2])
  made.append(open_store(path, stores, tokenizer=tokenizer)[0])
  assert count(stores) == 4
  assert len({store.content for store in made}) == 4


def test_a_file_that_was_only_touched_has_the_same_content(
  path, tmp_path, tokenizer
):
  first, _ = open_store(path, tmp_path / "stores", tokenizer=tokenizer)
  os.utime(path, (1, 1))
  second, _ = open_store(path, tmp_path / "stores", tokenizer=tokenizer)
  assert first.directory != second.directory
  assert first.content == second.content


@pytest.mark.parametrize("tokenizer_is_given", [True, False])
def test_bad_lines(path, tmp_path, tokenizer, tokenizer_is_given):
  path.write_text(path.read_text() + '{"query": ""}\n')
  options: dict[str, Any] = {
    "tokenizer": tokenizer if tokenizer_is_given else None
  }
  with pytest.raises(ValueError, match=f"{path}:4: 'query'"):
    open_store(path, tmp_path / "stores", **options)
  for _ in range(2):  # Built, then found again: said both times, once.
    said = []
    store, _ = open_store(
      path,
      tmp_path / "stores",
      on_bad_line="skip",
      report=said.append,
      **options,
    )
    assert len(store) == 3
    assert [f"{path}: skipped 1 lines of 4" in line for line in said] == [True]
  with pytest.raises(ValueError, match=f"{path}:4: 'query'"):
    open_store(path, tmp_path / "stores", **options)


def test_progress_is_told(path, tmp_path, tokenizer):
  seen = []
  open_store(
    path, tmp_path / "stores", tokenizer=tokenizer, progress=seen.append
  )
  assert seen == [3]


def test_the_built_in_task_needs_no_path(tmp_path, tokenizer, monkeypatch):
  pairs = [Pair("what is json", ("a format",))]
  monkeypatch.setitem(
    task_names.BUILT_IN, "python_docs_stage1", lambda: iter(pairs)
  )
  store, _ = open_store("python_docs_stage1", tmp_path, tokenizer=tokenizer)
  assert decoded(store, tokenizer, 0) == ["what is json", "a format"]
  store, trained = open_store("python_docs_stage1", tmp_path)
  assert decoded(store, trained, 0) == ["what is json", "a format"]


@pytest.mark.parametrize(
  "task, reason",
  [
    (
      "pyton_docs_stage1",
      "no task 'pyton_docs_stage1', .*'python_docs_stage1'",
    ),
    ("", "no task ''"),
    ("absent.jsonl", "absent.jsonl: no such file"),
    ("folder/absent", "no such file"),
    ("/", "is a folder"),
    ("*.jsonl-of-nobody", "no file matches"),
    (",", "no file of pairs"),
  ],
)
def test_an_unknown_task_is_refused(tmp_path, tokenizer, task, reason):
  with pytest.raises(ValueError, match=reason) as error:
    open_store(task, tmp_path, tokenizer=tokenizer)
  assert "\n" not in str(error.value)


@pytest.mark.parametrize(
  "lengths, reason",
  [
    ({"inputs": 16}, "given for inputs: "),
    ({}, "given for nothing"),
    ({"query": 16, "targets": 32}, "given for query, targets"),
    ({"query": 16, "passage": 32, "k": 1}, "given for k, passage, query"),
    ({"query": 1, "passage": 32}, "'query' is 1"),
    ({"query": 16, "passage": "32"}, "'passage' is '32'"),
    ({"query": True, "passage": 32}, "'query' is True"),
  ],
)
def test_lengths_are_checked(path, tmp_path, tokenizer, lengths, reason):
  with pytest.raises(ValueError, match=reason):
    open_store(path, tmp_path, tokenizer=tokenizer, lengths=lengths)


def test_bad_lines_are_an_error_or_skipped(path, tmp_path, tokenizer):
  with pytest.raises(ValueError, match="'error' or 'skip'"):
    open_store(path, tmp_path, tokenizer=tokenizer, on_bad_line="ignore")


def test_real_pairs(tmp_path, shared_data):
  t5 = vocabulary.load(shared_data / "vocab/t5_spiece.model")
  file = shared_data / "pairs/squad_sentences.jsonl.gz"
  store, _ = open_store(file, tmp_path, tokenizer=t5)
  assert len(store) == 10_530
  pairs = list(sources.read_pairs([file]))
  rows, _ = t5.encode([pair.query for pair in pairs], 16, "query")
  np.testing.assert_array_equal(
    store.token_rows(store.example_offsets[:-1], 16),
    vocabulary.pad(rows, 16),
  )
