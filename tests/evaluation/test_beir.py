"""BEIR folders: what is read, and what is refused with which words."""

import gzip
import hashlib
import json

import pytest

from gtr_jax.evaluation import beir
from gtr_jax.files.lines import BadLineError

CORPUS = [
  {"_id": "d1", "title": "Tea", "text": "Leaves in water.", "url": "x"},
  {"_id": 2, "text": "Beans."},
  {"_id": "d3", "title": None, "text": ""},
]
QUERIES = [
  {"_id": "q2", "text": "what is coffee"},
  {"_id": "q1", "text": "what is tea"},
  {"_id": "q3", "text": "never answered"},
  {"_id": "q4", "text": "of another split"},
]
QRELS = (
  "query-id\tcorpus-id\tscore\nq1\td1\t2\nq2\t2\t1\nq1\td3\t0\nq3\td3\t0\n"
)


@pytest.fixture
def folder(tmp_path):
  def write(corpus=CORPUS, queries=QUERIES, qrels=QRELS, split="test"):
    for name, records in (("corpus", corpus), ("queries", queries)):
      lines = [r if isinstance(r, str) else json.dumps(r) for r in records]
      text = "\n".join(lines) + "\n"
      (tmp_path / f"{name}.jsonl").write_text(text, encoding="utf-8")
    (tmp_path / "qrels").mkdir(exist_ok=True)
    (tmp_path / "qrels" / f"{split}.tsv").write_bytes(qrels.encode())
    return tmp_path

  return write


def test_reads_a_collection(folder):
  collection = beir.read(folder())
  assert collection.ids == ["d1", "2", "d3"]
  assert collection.titles == ["Tea", "", ""]
  assert collection.texts == ["Leaves in water.", "Beans.", ""]
  assert collection.passages == ["Tea Leaves in water.", "Beans.", ""]
  assert list(collection.queries) == ["q2", "q1"], "order of queries.jsonl"
  assert collection.qrels == {"q2": {"2": 1}, "q1": {"d1": 2, "d3": 0}}
  assert collection.num_empty == 1
  assert collection.num_unanswered == 1
  assert collection.num_skipped == 0


def test_gzip_is_read_as_plain(folder):
  plain = beir.read(folder())
  root = folder()
  for name in ("corpus.jsonl", "queries.jsonl"):
    (root / f"{name}.gz").write_bytes(gzip.compress((root / name).read_bytes()))
    (root / name).unlink()
  assert beir.read(root) == plain


def test_header_line_ends_and_order_of_qrels_do_not_matter(folder):
  due = beir.read(folder())
  lines = QRELS.splitlines()[1:]
  for text in ("\n".join(lines), "\r\n".join([*reversed(lines), "", ""])):
    actual = beir.read(folder(qrels=text))
    assert actual.qrels == due.qrels
    assert actual.qrels_sha256 == due.qrels_sha256
  other = beir.read(folder(qrels=QRELS.replace("\t2\n", "\t1\n")))
  assert other.qrels_sha256 != due.qrels_sha256


def test_qrels_hash_is_that_of_the_sorted_lines(folder):
  lines = b"q1\td1\t2\nq1\td3\t0\nq2\t2\t1\n"
  due = hashlib.sha256(lines).hexdigest()
  assert beir.read(folder()).qrels_sha256 == due


BAD_CORPUS = {
  "{": r"corpus.jsonl:2: not JSON",
  "[1]": r"corpus.jsonl:2: got a JSON list where an object was due",
  "": r"corpus.jsonl:2: a blank line",
  '{"_id": "d1", "text": "twice"}': r"corpus.jsonl:2: '_id' 'd1' is taken",
  '{"_id": "d9"}': r"corpus.jsonl:2: 'text' is missing or null",
  '{"_id": "d9", "text": 3}': r"corpus.jsonl:2: 'text' is a int",
  '{"_id": "d9", "text": "a", "title": []}': r":2: 'title' is a list",
  '{"text": "no id"}': r"corpus.jsonl:2: '_id' is missing",
  '{"_id": true, "text": "a"}': r"corpus.jsonl:2: '_id' is true or false",
  '{"_id": "", "text": "a"}': r"corpus.jsonl:2: the id '' is empty",
  '{"_id": "d9", "text": "\\ud800"}': r":2: 'text' holds half a character",
}


@pytest.mark.parametrize("line", BAD_CORPUS)
def test_a_bad_passage_is_named_or_skipped(folder, line):
  root = folder(corpus=[CORPUS[0], line, *CORPUS[1:]])
  with pytest.raises(BadLineError, match=BAD_CORPUS[line]) as caught:
    beir.read(root)
  assert len(str(caught.value).splitlines()) == 1
  reports = []
  collection = beir.read(root, on_bad_line="skip", report=reports.append)
  assert collection.ids == ["d1", "2", "d3"]
  assert collection.num_skipped == 1
  assert len(reports) == 1 and "skipped 1 line" in reports[0]


BAD_QRELS = {
  "q1 d1 1": r"test.tsv:6: got 1 fields, due are 3 between tabs",
  "q1\t0\td1\t1": r"test.tsv:6: got 4 fields",
  "q1\td1\t1.0": r"test.tsv:6: the score is '1.0', a whole number was due",
  "q1\td1\tyes": r"test.tsv:6: the score is 'yes'",
  "q1\td1\t1": r"test.tsv:6: query 'q1' and passage 'd1' were judged before",
  "q1\tnone\t1": r"test.tsv:6: 'none' is not in corpus.jsonl",
  "q9\td1\t1": r"test.tsv:6: 'q9' is not in queries.jsonl",
}


@pytest.mark.parametrize("line", BAD_QRELS)
def test_a_bad_judgement_is_named_or_skipped(folder, line):
  root = folder(qrels=QRELS + line + "\n")
  with pytest.raises(BadLineError, match=BAD_QRELS[line]):
    beir.read(root)
  collection = beir.read(root, on_bad_line="skip", report=lambda summary: None)
  assert collection.qrels == {"q2": {"2": 1}, "q1": {"d1": 2, "d3": 0}}
  assert collection.num_skipped == 1


def test_a_first_line_with_a_bad_score_is_no_header(folder):
  with pytest.raises(BadLineError, match=r"test.tsv:1: the score is '1.0'"):
    beir.read(folder(qrels="q1\td1\t1.0\n"))


def test_skipped_lines_are_told_on_standard_error(folder, capsys):
  beir.read(folder(corpus=[*CORPUS, "{"]), on_bad_line="skip")
  assert (
    "corpus.jsonl: skipped 1 lines of 4, first: line 4: not JSON"
    in capsys.readouterr().err
  )


def test_bytes_that_are_not_utf8_are_named(folder):
  root = folder()
  with (root / "corpus.jsonl").open("ab") as stream:
    stream.write(b'{"_id": "d4", "text": "\xff"}\n')
  with pytest.raises(BadLineError, match=r"corpus.jsonl:4: byte 0xff"):
    beir.read(root)


def test_a_cut_gzip_stream_is_never_passed_over(folder):
  root = folder()
  whole = gzip.compress((root / "corpus.jsonl").read_bytes())
  (root / "corpus.jsonl").unlink()
  (root / "corpus.jsonl.gz").write_bytes(whole[: len(whole) // 2])
  with pytest.raises(BadLineError, match=r"gz:\d: the gzip stream is broken"):
    beir.read(root, on_bad_line="skip", report=lambda summary: None)


def test_missing_files_are_named(folder, tmp_path):
  root = folder(split="dev")
  with pytest.raises(ValueError, match="no qrels/test.tsv: its splits are dev"):
    beir.read(root)
  (root / "queries.jsonl").unlink()
  with pytest.raises(ValueError, match="no queries.jsonl or queries.jsonl.gz"):
    beir.read(root, "dev")
  with pytest.raises(ValueError, match="no such folder"):
    beir.find(tmp_path / "absent")
  (tmp_path / "empty").mkdir()
  with pytest.raises(ValueError, match="no corpus.jsonl"):
    beir.find(tmp_path / "empty")


def test_nothing_to_evaluate_is_an_error(folder):
  with pytest.raises(ValueError, match="no query has a relevant passage"):
    beir.read(folder(qrels="q1\td1\t0\n"))


def test_finds_folders_one_level_down(folder, tmp_path):
  root = folder()
  assert beir.find(root) == [root]
  parts = tmp_path / "parts"
  for name in ("unix", "android"):
    (parts / name).mkdir(parents=True)
    (parts / name / "corpus.jsonl").touch()
  (parts / "notes").mkdir()
  assert beir.find(parts) == [parts / "android", parts / "unix"]
