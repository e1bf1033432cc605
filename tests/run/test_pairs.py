"""`gtr pairs`: files in, pairs that `gtr train` reads out."""

import json

import pytest

from gtr_jax.data import sources
from gtr_jax.run import main

FILES = {
  "collection.tsv": "0\tzero\n1\tone\n2\ttwo\n3\tthree\n",
  "queries.train.tsv": "10\tten ?\n11\televen ?\n",
  "qrels.train.tsv": "10\t0\t0\t1\n11\t0\t1\t1\n",
  "hard-negatives.jsonl": (
    '{"qid": 10, "pos": [{"pid": 0, "ce-score": 2}],'
    ' "neg": {"a": [{"pid": 3, "ce-score": 1}, {"pid": 2, "ce-score": 0}]}}\n'
    '{"qid": 11, "pos": [1], "neg": {"a": [77]}}\n'
  ),
}


@pytest.fixture
def folder(tmp_path):
  (tmp_path / "data").mkdir()
  for name, content in FILES.items():
    (tmp_path / "data" / name).write_text(content)
  return tmp_path


def run(folder, *flags, output="pairs.jsonl"):
  return main.main(
    [
      "pairs",
      "--format=msmarco",
      f"--input={folder / 'data'}",
      f"--output={folder / output}",
      f"--cache={folder / 'cache'}",
      "--json",
      *flags,
    ]
  )


def test_pairs_and_statistics(folder, capsys):
  assert run(folder, "--on_bad_line=skip") == 0
  said = capsys.readouterr()
  result = json.loads(said.out.splitlines()[-1])
  assert {
    name: result[name]
    for name in ("pairs", "positives", "negatives", "without_negatives")
  } == {"pairs": 2, "positives": 2, "negatives": 2, "without_negatives": 1}
  assert result["left_out"] == {"unknown_negative": 1}
  assert "hard-negatives.jsonl:2: the negative '77' is in no file" in said.err
  first, second = map(
    json.loads, (folder / "pairs.jsonl").read_text().splitlines()
  )
  assert first == {
    "query": "ten ?",
    "positives": ["zero"],
    "negatives": ["three", "two"],
    "query_id": "10",
    "positive_ids": ["0"],
    "negative_ids": ["3", "2"],
    "positive_scores": [2.0],
    "negative_scores": [1.0, 0.0],
  }
  assert second["query_id"] == "11" and "negative_ids" not in second
  statistics = json.loads((folder / "pairs.statistics.json").read_text())
  assert statistics.items() <= result.items()
  read = list(sources.read_pairs([folder / "pairs.jsonl"]))
  assert [pair.negatives for pair in read] == [("three", "two"), ()]


def test_shards_are_read_by_training(folder):
  assert run(folder, "--on_bad_line=skip", "--shards=3", output="out") == 0
  shards = sorted((folder / "out").glob("pairs-*-of-00002.jsonl.gz"))
  assert len(shards) == 2  # No more than pairs.
  queries = [pair.query for pair in sources.read_pairs(shards)]
  assert queries == ["ten ?", "eleven ?"]
  assert json.loads((folder / "out" / "statistics.json").read_text())["pairs"]


def test_a_mistake_is_one_line_and_leaves_nothing(folder, capsys):
  assert run(folder, output="out") == 2
  said = capsys.readouterr().err
  assert said.startswith(f"gtr pairs: {folder}/data/hard-negatives.jsonl:2: ")
  assert "--on_bad_line=skip" in said and said.count("\n") == 1
  assert not (folder / "out").exists()


@pytest.mark.parametrize(
  "flag, message",
  [
    ("--fraction=0", "--fraction is 0.0"),
    ("--num_negatives=-1", "--num_negatives is -1"),
    ("--shards=0", "--shards is 0"),
    ("--seed=-1", "--seed is -1"),
    ("--margin=nan", "margin is nan: give a number"),
    ("--max_score=inf", "max_score is inf: give a number"),
    ("--split=dev", "there is no file of queries"),
  ],
)
def test_flags_that_make_no_sense(folder, capsys, flag, message):
  assert run(folder, flag) == 2
  assert message in capsys.readouterr().err


def test_the_input_is_never_replaced(tmp_path, capsys):
  file = tmp_path / "x.jsonl"
  file.write_text('{"query": "q", "positive": "p"}\n')
  for output in (file, tmp_path):
    flags = ("--input", str(file), "--output", str(output))
    assert main.main(["pairs", "--format=sentence-transformers", *flags]) == 2
    assert "is input and output" in capsys.readouterr().err
  assert "query" in file.read_text()


def test_no_pair_is_a_mistake(folder, capsys):
  (folder / "data" / "hard-negatives.jsonl").unlink()
  (folder / "data" / "qrels.train.tsv").write_text("10\t0\t0\t0\n")
  assert run(folder) == 2
  assert "no pair came out of the input" in capsys.readouterr().err
