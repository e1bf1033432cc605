"""BEIR folders as training data."""

import json
import zipfile

import pytest

from gtr_jax.data.pair import Pair
from gtr_jax.evaluation import beir


def lines(*records):
  return "".join(json.dumps(record) + "\n" for record in records)


@pytest.fixture
def folder(write, tmp_path):
  root = write(
    corpus__jsonl=lines(
      {"_id": "a", "title": "A", "text": "first"},
      {"_id": "b", "title": "", "text": "second"},
      {"_id": 3, "text": "third", "metadata": {}},
    ),
    queries__jsonl=lines(
      {"_id": "q", "text": "Q ?"}, {"_id": 7, "text": "R ?"}
    ),
  )
  (root / "qrels").mkdir()
  (root / "qrels" / "train.tsv").write_text(
    "query-id\tcorpus-id\tscore\nq\ta\t2\nq\tb\t0\n7\t3\t1\n"
  )
  return root


def pairs(result):
  return [labelled.pair for labelled in result.pairs]


def test_a_folder(read, folder):
  # What was judged not to answer is a negative.
  assert pairs(read("beir", folder)) == [
    Pair("Q ?", ("A first",), ("second",), "q", ("a",), ("b",)),
    Pair("R ?", ("third",), (), "7", ("3",)),
  ]


def test_an_archive_as_it_is_downloaded(read, folder, tmp_path):
  path = tmp_path / "set.zip"
  with zipfile.ZipFile(path, "w") as archive:
    for file in folder.rglob("*"):
      archive.write(file, f"set/{file.relative_to(folder)}")
  assert pairs(read("beir", path)) == pairs(read("beir", folder))
  path.write_bytes(path.read_bytes()[:-30])
  with pytest.raises(ValueError, match="set.zip: the archive is broken"):
    read("beir", path)


def test_texts_are_those_of_evaluation(read, folder):
  evaluated = beir.read(folder, "train")
  texts = dict(zip(evaluated.ids, evaluated.passages, strict=True))
  for pair in pairs(read("beir", folder)):
    assert [texts[i] for i in pair.positive_ids or ()] == list(pair.positives)


def test_files_by_name(read, folder):
  files = ["corpus.jsonl", "queries.jsonl", "qrels/train.tsv"]
  named = read("beir", *[folder / file for file in files])
  assert pairs(named) == pairs(read("beir", folder))


def test_a_ranking_gives_negatives_with_scores(read, folder):
  ranking = folder / "model.run"
  ranking.write_text("q Q0 a 1 0.9 x\nq Q0 3 2 0.7 x\nq Q0 b 3 0.2 x\n")
  (labelled,) = read("beir", folder).pairs
  assert labelled.pair.negative_ids == ("3", "b")
  assert labelled.negative_scores == (0.7, 0.2)
  (labelled,) = read("beir", folder, max_score=0.5).pairs
  assert labelled.pair.negative_ids == ("b",)
  ranking.write_text("q Q0 a 1 high x\n")
  with pytest.raises(ValueError, match="model.run:1: the score is 'high'"):
    read("beir", folder)


def test_the_splits_are_told(read, folder):
  with pytest.raises(
    ValueError, match="no qrels/dev.tsv: the splits are train"
  ):
    read("beir", folder, split="dev")


BAD = {
  "json": ("corpus.jsonl", '{"_id": "c", "te', "4: not JSON"),
  "no id": ("corpus.jsonl", '{"text": "x"}', "4: '_id' is missing"),
  "no text": ("corpus.jsonl", '{"_id": "c"}', "4: 'text' is missing"),
  "surrogate": (
    "queries.jsonl",
    '{"_id":"c","text":"\\ud800"}',
    "3: 'text' ho",
  ),
  "query": ("queries.jsonl", '{"_id": "q", "text": "x"}', "3: the id 'q' is t"),
  "qrels": ("qrels/train.tsv", "q\tz\t1", "5: the passage 'z' is in none of"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_lines_are_told_or_counted(read, folder, name):
  file, line, message = BAD[name]
  with (folder / file).open("a") as stream:
    stream.write(line + "\n")
  with pytest.raises(ValueError, match=f"{folder / file}:{message}"):
    read("beir", folder)
  result = read("beir", folder, on_bad_line="skip")
  assert len(result.pairs) == 2
  assert result.ledger.left_out.total() == 1
