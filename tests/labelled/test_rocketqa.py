"""RocketQA's files, by hand, with titles and without."""

import pytest

from gtr_jax.data.pair import Pair

CORPUS = {
  "para__txt": "0\tzero\n1\tone\n2\ttwo\n",
  "para__title__txt": "0\tZero's\n1\t-\n",
  "train__query__txt": "10\tten ?\n11\televen ?\n",
  "qrels__train__tsv": "10\t0\n11\t1\n11\t2\n",
}
TRAINING = (
  "ten ?\tZero's\tzero\t-\ttwo\t0\n"
  "ten ?\tZero's\tzero\tOne\tone\t0\n"
  "eleven ?\tOne\tone\tZero's\tzero\t0\n"
  "eleven ?\t-\ttwo\tOne\tone\t0\n"
)


def pairs(result):
  return [labelled.pair for labelled in result.pairs]


def test_judged_queries_with_titles(read, write):
  result = read("rocketqa", write(**CORPUS))
  assert pairs(result) == [
    Pair("ten ?", ("Zero's zero",), (), "10", ("0",)),
    Pair("eleven ?", ("one", "two"), (), "11", ("1", "2")),
  ]
  assert result.ledger.with_title.total() == 1
  assert result.ledger.without_title.total() == 2


def test_judged_queries_without_titles(read, write):
  folder = write(**CORPUS)
  (first, _) = pairs(read("rocketqa", folder, titles="drop"))
  assert first.positives == ("zero",)
  (folder / "para.title.txt").unlink()
  assert pairs(read("rocketqa", folder, titles="drop"))[0] == first
  with pytest.raises(ValueError, match="no para.title.txt.*--titles=drop"):
    read("rocketqa", folder)


def test_a_title_may_be_required(read, write):
  folder = write(**CORPUS)
  with pytest.raises(ValueError, match="para.txt:2: a positive has no title"):
    read("rocketqa", folder, titles="require")
  result = read("rocketqa", folder, titles="require", on_bad_line="skip")
  assert [p.query_id for p in pairs(result)] == ["10"]
  assert result.ledger.left_out == {
    "bad_line": 0,
    "without_title": 2,
    "without_positive": 1,
  }


def test_titles_of_another_corpus_are_refused(read, write):
  folder = write(**{**CORPUS, "para__title__txt": "0\tx\n77\ty\n78\tz\n"})
  with pytest.raises(ValueError, match="2 of its ids are not in .*para.txt"):
    read("rocketqa", folder)


def test_microsofts_corpus_is_refused(read, write):
  folder = write(**CORPUS, collection__tsv="0\tzero\n")
  with pytest.raises(ValueError, match="--format=msmarco"):
    read("rocketqa", folder)


ELEVEN = Pair("eleven ?", ("One one", "two"), ("Zero's zero",), "11")


@pytest.mark.parametrize("header", ["", "named"])
def test_training_files(read, write, header):
  columns = "query\ttitle_pos\tpara_pos\ttitle_neg\tpara_neg\tlabel\n"
  folder = write(
    **CORPUS,
    marco_de1_denoise__tsv=(columns if header else "") + TRAINING,
  )
  result = read("rocketqa", folder)
  # The passages have no ids, and a positive is no negative.
  assert pairs(result) == [
    Pair("ten ?", ("Zero's zero",), ("two", "One one"), "10"),
    ELEVEN,
  ]
  assert result.ledger.filtered == {"copy_of_positive": 1}
  dropped = pairs(read("rocketqa", folder, titles="drop"))
  assert [p.positives for p in dropped] == [("zero",), ("one", "two")]


def test_a_training_file_alone_has_no_ids(read, write):
  folder = write(marco_de1_denoise__tsv=TRAINING)
  result = read("rocketqa", folder / "marco_de1_denoise.tsv", num_negatives=1)
  assert [(p.query_id, p.negatives) for p in pairs(result)] == [
    (None, ("two",)),
    (None, ("Zero's zero",)),
  ]


def test_a_training_file_without_titles(read, write):
  folder = write(
    x_de1__tsv="query\tpara_pos\tpara_neg\tlabel\na ?\tyes\tno\t0\n"
  )
  (pair,) = pairs(read("rocketqa", folder / "x_de1.tsv"))
  assert pair == Pair("a ?", ("yes",), ("no",))


def test_labels_in_any_order(read, write):
  folder = write(
    marco_ce0__tsv="a ?\tA\tyes\t1\nb ?\t\tja\t1\nc ?\t-\tnone\t0\n"
    "b ?\tB\tnein\t0\na ?\t-\tno\t0\nb ?\tB\tdoch\t1\n"
  )
  result = read("rocketqa", folder, on_bad_line="skip")
  assert pairs(result) == [
    Pair("a ?", ("A yes",), ("no",)),
    Pair("b ?", ("ja", "B doch"), ("B nein",)),
  ]
  assert result.ledger.left_out["without_positive"] == 1


def test_the_fraction_is_the_same_with_and_without_negatives(read, write):
  numbers = range(300)
  training = "".join(f"query {n}\t-\tyes {n}\t-\tno {n}\t0\n" for n in numbers)
  corpus = {
    "para__txt": "".join(f"{n}\tyes {n}\n" for n in numbers),
    "para__title__txt": "0\t-\n",
    "train__query__txt": "".join(f"{n + 7}\tquery {n}\n" for n in numbers),
    "qrels__train__tsv": "".join(f"{n + 7}\t{n}\n" for n in numbers),
  }
  judged = read("rocketqa", write(**corpus), fraction=0.1)
  listed = read(
    "rocketqa", write("b", **corpus, x_de1__tsv=training), fraction=0.1
  )
  ids = [p.query_id for p in pairs(judged)]
  assert ids and ids == [p.query_id for p in pairs(listed)]


BAD = {
  "cells": ("a ?\tyes\tno\n", "1: got 3 cells between tabs, due are 6"),
  "later": (TRAINING + "x\n", "5: got 1 cell between tabs"),
  "query": (" \t-\tyes\t-\tno\t0\n", "1: the query is empty"),
  "positive": ("a ?\t-\t\t-\tno\t0\n", "1: a positive is empty"),
  "negative": ("a ?\t-\tyes\t-\t \t0\n", "1: a negative is empty"),
  "label": ("a ?\t-\tyes\t2\n", "1: the label is '2', 0 or 1 was due"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_lines_are_told_or_counted(read, write, name):
  content, message = BAD[name]
  path = write(x_de1__tsv=content) / "x_de1.tsv"
  with pytest.raises(ValueError, match=f"{path}:{message}"):
    read("rocketqa", path)
  path.write_text(content + TRAINING)
  result = read("rocketqa", path, on_bad_line="skip")
  assert result.ledger.left_out.total() >= 1
  assert pairs(result)[-1].query == "eleven ?"
