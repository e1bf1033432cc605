"""`gtr encode`: from a file to a store, its mistakes, and kills."""

import gzip
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from gtr_jax.retrieval import store
from gtr_jax.run import encode, model_directory

pytestmark = pytest.mark.usefixtures("quick_models")

KEYS = {"store", "rows", "dim", "texts_per_second", "truncated"}
WORDS = ["green", "tea", "leaves", "steep", "in", "hot", "water", "milk"]


def passages(num_passages=20):
  rng = np.random.default_rng(0)
  return [
    {
      "_id": f"d{row}",
      "title": "tea" if row % 3 else "",
      "text": " ".join(rng.choice(WORDS, 1 + row % 7)),
      "metadata": {"ignored": True},
    }
    for row in range(num_passages)
  ]


@pytest.fixture
def corpus(tmp_path):
  path = tmp_path / "corpus.jsonl"
  path.write_text("".join(json.dumps(line) + "\n" for line in passages()))
  return path


@pytest.fixture
def gtr(capsys):
  def call(*arguments):
    """(exit status, result or None, standard error)"""
    status = encode.main([*map(str, arguments), "--json"])
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    return status, json.loads(lines[-1]) if lines else None, captured.err

  return call


def contents(directory):
  return {
    path.name: path.read_bytes()
    for path in directory.iterdir()
    if path.name != ".lock"
  }


def test_a_store_holds_what_the_encoder_says(toy_model, corpus, tmp_path, gtr):
  output = tmp_path / "store"
  flags = ("--model", toy_model, "--input", corpus, "--output", output)
  status, result, error = gtr(*flags, "--shard_rows=8", "--passage_length=9")
  assert (status, error) == (0, "")
  assert result.keys() >= KEYS
  encoder = model_directory.encoder(toy_model, passage_length=9)
  expected, num_cut = encoder.encode_texts(
    [f"{line['title']} {line['text']}".strip() for line in passages()],
    "passage",
  )
  assert 0 < num_cut < 20
  assert result["truncated"] == num_cut
  assert (result["rows"], result["dim"]) == (20, 24)
  assert (result["store"], result["skipped"]) == (str(output), 0)
  assert result["texts_per_second"] > 0
  read = store.load(output)
  np.testing.assert_allclose(read.embeddings[:], expected, atol=1e-6)
  assert list(read.documents.ids) == [line["_id"] for line in passages()]
  assert read.manifest.recipe.checkpoint == encoder.checkpoint_hash
  assert len(read.manifest.shards) == 3


def test_towers_gzip_and_dtype(toy_model, corpus, tmp_path, gtr):
  zipped = tmp_path / "corpus.jsonl.gz"
  zipped.write_bytes(gzip.compress(corpus.read_bytes()))
  status, result, _ = gtr(
    *("--model", toy_model, "--input", zipped, "--output", tmp_path / "s"),
    *("--tower=query", "--query_length=5", "--dtype=float16"),
    "--batch_tokens=64",
  )
  assert status == 0
  encoder = model_directory.encoder(toy_model, query_length=5)
  expected, num_cut = encoder.encode_texts(
    [f"{line['title']} {line['text']}".strip() for line in passages()], "query"
  )
  assert result["truncated"] == num_cut
  read = store.load(tmp_path / "s")
  assert read.embeddings[:].dtype == np.float16
  np.testing.assert_allclose(read.embeddings[:], expected, atol=1e-3)
  assert (read.manifest.recipe.tower, read.manifest.recipe.length) == (
    "query",
    5,
  )


def test_a_finished_store_is_no_work(toy_model, corpus, tmp_path, gtr):
  flags = ("--model", toy_model, "--input", corpus, "--output", tmp_path / "s")
  _, first, _ = gtr(*flags)
  before = contents(tmp_path / "s")
  status, second, error = gtr(*flags)
  assert (status, error) == (0, "")
  assert second["encoded"] == second["texts_per_second"] == 0
  same = ("rows", "dim", "truncated", "store")
  assert [second[key] for key in same] == [first[key] for key in same]
  assert contents(tmp_path / "s") == before


KILLED = """
import os, signal, sys
from gtr_jax.run import encode
num_files = 0
def replace(old, new, replace=os.replace):
  global num_files
  num_files += 1
  if num_files == int(sys.argv[1]):
    os.kill(os.getpid(), signal.SIGKILL)
  replace(old, new)
os.replace = replace
encode.main(sys.argv[2:])
"""


@pytest.mark.parametrize("num_files", [2, 8])
def test_killed_and_started_again(toy_model, corpus, tmp_path, gtr, num_files):
  """Dies where the n-th file would appear; goes on to the same bytes."""
  flags = ["--model", str(toy_model), "--input", str(corpus)]
  flags += ["--shard_rows=6"]
  killed = subprocess.run(
    [sys.executable, "-c", KILLED, str(num_files), *flags]
    + ["--output", str(tmp_path / "killed")],
    check=False,
    capture_output=True,
    # As many as here: other batches would round otherwise.
    env={**os.environ, "JAX_NUM_CPU_DEVICES": "8"},
  )
  assert killed.returncode == -signal.SIGKILL
  assert not (tmp_path / "killed" / "manifest.json").exists()
  _, whole, _ = gtr(*flags, "--output", tmp_path / "whole")
  assert whole["encoded"] == 20
  status, result, _ = gtr(*flags, "--output", tmp_path / "killed")
  assert status == 0
  # Three files of texts and a plan, then a shard and the plan in turn.
  assert result["encoded"] == {2: 20, 8: 14}[num_files]
  assert result["truncated"] == whole["truncated"]
  assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


GOOD = b'{"_id": "a", "text": "green tea"}\n'
BAD_LINES = {
  b'{"_id": "b", "text": "tea"': ":2: not JSON",
  b"[1, 2]": ":2: got a JSON list",
  b'{"text": "tea"}': ":2: '_id' is missing or null",
  b'{"_id": "", "text": "tea"}': ":2: the id '' is empty",
  b'{"_id": 1.5, "text": "tea"}': ":2: '_id' is a float",
  b'{"_id": "b"}': ":2: 'text' is missing or null",
  b'{"_id": "b", "text": ["tea"]}': ":2: 'text' is a list",
  b'{"_id": "b", "text": " ", "title": ""}': ":2: the text of 'b' is empty",
  b'{"_id": "b", "text": "tea", "title": 3}': ":2: 'title' is a int",
  b'{"_id": "a", "text": "tea"}': ":2: '_id' 'a' is taken",
  b'{"_id": "b", "text": "\xff"}': ":2: byte 0xff",
  b'{"_id": "b", "text": "\\ud800"}': ":2: 'text' holds half a character",
  b'{"_id": "b\\nc", "text": "tea"}': "has a line end",
  b"": ":2: a blank line",
}


@pytest.mark.parametrize("line", BAD_LINES)
def test_bad_lines(toy_model, tmp_path, gtr, line):
  path = tmp_path / "bad.jsonl"
  last = b'{"_id": 7, "title": null, "text": "hot water"}\n'
  path.write_bytes(GOOD + line + b"\n" + last)
  flags = ("--model", toy_model, "--input", path, "--output", tmp_path / "s")
  status, result, error = gtr(*flags)
  assert (status, result) == (2, None)
  assert error.startswith(f"gtr encode: {path}:2: ")
  assert BAD_LINES[line] in error
  assert error.count("\n") == 1
  status, result, error = gtr(*flags, "--on_bad_line=skip")
  assert (status, result["rows"], result["skipped"]) == (0, 2, 1)
  assert "skipped 1 lines" in error
  assert list(store.load(tmp_path / "s").documents.ids) == ["a", "7"]
  status, _, error = gtr(*flags)
  assert status == 2 and "was made without 1 bad lines" in error


@pytest.mark.parametrize(
  ("flag", "value", "message"),
  [
    ("--input", "nowhere.jsonl", "nowhere.jsonl: No such file"),
    ("--input", "empty.jsonl", "there is no text in it"),
    ("--input", "cut.jsonl.gz", "the gzip stream is broken"),
    ("--model", ".", "is no model directory"),
    ("--output", "full", "holds letter.txt"),
    ("--passage_length", "0", "passage_length is 0"),
    ("--batch_tokens", "-1", "batch_tokens is -1"),
    ("--shard_rows", "0", "shard_rows is 0"),
  ],
)
def test_mistakes(
  toy_model, corpus, tmp_path, gtr, monkeypatch, flag, value, message
):
  monkeypatch.chdir(tmp_path)
  (tmp_path / "empty.jsonl").touch()
  zipped = gzip.compress(corpus.read_bytes())
  (tmp_path / "cut.jsonl.gz").write_bytes(zipped[: len(zipped) // 2])
  (tmp_path / "full").mkdir()
  (tmp_path / "full" / "letter.txt").touch()
  flags = {"--model": toy_model, "--input": corpus, "--output": "s"}
  flags[flag] = value
  status, result, error = gtr(
    *[part for pair in flags.items() for part in pair]
  )
  assert (status, result) == (2, None)
  assert message in error
  assert error.startswith("gtr encode: ") and error.count("\n") == 1


def test_another_model_needs_another_store(toy_models, corpus, tmp_path, gtr):
  flags = ("--input", corpus, "--output", tmp_path / "s")
  assert gtr(*flags, "--model", toy_models[0])[0] == 0
  status, _, error = gtr(*flags, "--model", toy_models[1])
  assert status == 2
  assert "checkpoint was" in error and "another --output" in error


def test_the_program_starts_at_once():
  code = (
    "import sys; import gtr_jax.run.encode, gtr_jax.run.search;"
    "sys.exit('jax' in sys.modules or 'numpy' in sys.modules)"
  )
  subprocess.run([sys.executable, "-c", code], check=True)
