"""Microsoft's files, by hand: every text stands where its id says."""

import gzip
import json
import tarfile

import pytest

from gtr_jax.data.pair import Pair

FILES = {
  "collection__tsv": "0\tzero\n1\tone\n2\ttwo\n3\tthree\n4\tfour\n",
  "queries__train__tsv": "10\tten ?\n11\televen ?\n12\ttwelve ?\n",
  "qrels__train__tsv": "11\t0\t1\t1\n10\t0\t0\t1\n11\t0\t2\t1\n",
}
TEN = Pair("ten ?", ("zero",), (), "10", ("0",))
ELEVEN = Pair("eleven ?", ("one", "two"), (), "11", ("1", "2"))


def pairs(result):
  return [labelled.pair for labelled in result.pairs]


@pytest.fixture
def folder(write):
  return write(**FILES)


def test_judged_queries(read, folder):
  result = read("msmarco", folder)
  assert pairs(result) == [TEN, ELEVEN]
  assert result.ledger.counts["queries_without_relevant"] == 1
  assert result.ledger.without_title == {str(folder / "collection.tsv"): 3}
  # The second time the stores are found again.
  assert pairs(read("msmarco", folder)) == [TEN, ELEVEN]


def test_gzip_line_ends_and_byte_order_marks(read, write):
  folder = write(
    collection__tsv__gz=gzip.compress(FILES["collection__tsv"].encode()),
    queries__train__tsv=FILES["queries__train__tsv"].replace("\n", "\r\n"),
    qrels__train__tsv="\ufeff" + FILES["qrels__train__tsv"],
  )
  assert pairs(read("msmarco", folder)) == [TEN, ELEVEN]


def test_an_archive_as_it_is_downloaded(read, folder, tmp_path):
  path = tmp_path / "collectionandqueries.tar.gz"
  with tarfile.open(path, "w:gz") as archive:
    for file in folder.iterdir():
      archive.add(file, f"./somewhere/{file.name}")
  assert pairs(read("msmarco", path)) == [TEN, ELEVEN]
  path.write_bytes(path.read_bytes()[:-100])
  with pytest.raises(ValueError, match="the archive is broken.*copy the file"):
    read("msmarco", path)


@pytest.mark.parametrize("name", ["collection.tsv", "queries.train.tsv"])
def test_a_missing_file_is_named(read, folder, name):
  (folder / name).unlink()
  with pytest.raises(ValueError, match=f"{name} was due"):
    read("msmarco", folder)


def test_the_split_decides_between_files(read, folder, write):
  write(queries__dev__tsv="13\tdev ?\n", qrels__dev__tsv="13\t0\t4\t1\n")
  assert pairs(read("msmarco", folder)) == [TEN, ELEVEN]
  (pair,) = pairs(read("msmarco", folder, split="dev"))
  assert pair == Pair("dev ?", ("four",), (), "13", ("4",))


def test_named_files_need_no_split(read, write):
  folder = write(
    collection__tsv=FILES["collection__tsv"],
    queries__tsv=FILES["queries__train__tsv"],
    qrels__dev__small__tsv=FILES["qrels__train__tsv"],
  )
  assert pairs(read("msmarco", *folder.iterdir())) == [TEN, ELEVEN]
  with pytest.raises(ValueError, match="name does not tell what it is"):
    read("msmarco", folder / "collection.tsv", write(x__tsv="x") / "x.tsv")


TRIPLES = "10\t0\t3\n10\t0\t4\n11\t1\t3\n11\t2\t2\n11\t2\t1\n11\t2\t4\n"


def test_triples_of_ids(read, write):
  folder = write(**FILES, qidpidtriples__train__full__tsv=TRIPLES)
  # A positive of the query in another line is no negative.
  assert pairs(read("msmarco", folder)) == [
    Pair("ten ?", ("zero",), ("three", "four"), "10", ("0",), ("3", "4")),
    Pair(
      "eleven ?",
      ("one", "two"),
      ("three", "four"),
      "11",
      ("1", "2"),
      ("3", "4"),
    ),
  ]
  result = read("msmarco", folder, num_negatives=1)
  assert [pair.negative_ids for pair in pairs(result)] == [("3",), ("3",)]


def test_known_positives_of_scattered_triples_are_no_negatives(read, write):
  folder = write(
    **FILES, triples__train__ids__tsv="11\t1\t2\n10\t0\t3\n11\t1\t4\n"
  )
  result = read("msmarco", folder)
  assert [p.negative_ids for p in pairs(result)] == [None, ("3",), ("4",)]
  assert result.ledger.filtered == {"positive": 1}


def test_triples_of_texts(read, write):
  folder = write(
    triples__train__small__tsv="a ?\tyes\tno\na ?\tyes\tNO \n"
    "a ?\tyes\tYes\na ?\tyes\tA  ?\n"
  )
  result = read("msmarco", folder)
  assert pairs(result) == [Pair("a ?", ("yes",), ("no",))]
  assert result.ledger.filtered == {
    "copy_of_negative": 1,
    "copy_of_positive": 1,
    "copy_of_query": 1,
  }


def hard(*records):
  return "".join(json.dumps(record) + "\n" for record in records)


HARD = hard(
  {"qid": 10, "pos": [0], "neg": {"bm25": [3, 1], "ance": [4, 0, 3]}},
  {"qid": 11, "pos": [1], "neg": {"bm25": [2, 3], "ance": []}},
)


def test_hard_negatives_take_turns(read, write):
  folder = write(**FILES, **{"msmarco-hard-negatives__jsonl": HARD})
  result = read("msmarco", folder)
  # 0 is the positive of the first query, 2 was judged one of the second.
  assert [p.negative_ids for p in pairs(result)] == [("3", "4", "1"), ("3",)]
  assert result.ledger.filtered == {"positive": 2, "repeated": 1}
  result = read("msmarco", folder, systems=("ance",))
  assert [p.negative_ids for p in pairs(result)] == [("4", "3"), None]
  with pytest.raises(ValueError, match="no negatives of 'bm52'.*ance, bm25"):
    read("msmarco", folder, systems=("bm52",))


def test_scores_filter_and_are_kept(read, write):
  pytest.importorskip("ijson", reason="of the extra `data`")
  folder = write(
    **FILES,
    **{
      "msmarco-hard-negatives__jsonl": HARD,
      "ce-scores__json": json.dumps(
        {
          "10": {"0": 9, "3": 8.5, "1": 2, "4": -1.5},
          "11": {"1": 5, "3": 4},
        }
      ),
    },
  )
  first, second = read("msmarco", folder).pairs
  assert first.positive_scores == (9.0,)
  assert first.negative_scores == (8.5, -1.5, 2.0)
  result = read("msmarco", folder, margin=1.0, max_score=3.0)
  assert [p.negative_ids for p in pairs(result)] == [("4", "1"), None]
  assert result.ledger.filtered["max_score"] == 2
  result = read("msmarco", folder, relative_margin=0.1)
  assert [p.negative_ids for p in pairs(result)] == [("4", "1"), ("3",)]


def test_scores_beside_the_ids(read, write):
  record = {
    "qid": 10,
    "pos": [{"pid": 0, "ce-score": 4}],
    "neg": {"x": [{"pid": 1, "ce-score": 3.5}, {"pid": 2, "ce-score": 0}]},
  }
  folder = write(**FILES, **{"hard-negatives__jsonl": hard(record)})
  (labelled,) = read("msmarco", folder, margin=1.0).pairs
  assert labelled.pair.negatives == ("two",)
  assert labelled.positive_scores == (4.0,)
  assert labelled.negative_scores == (0.0,)


def test_a_margin_without_scores_is_a_mistake(read, write):
  folder = write(**FILES, **{"hard-negatives__jsonl": HARD})
  with pytest.raises(ValueError, match="no scores to filter by"):
    read("msmarco", folder, margin=0.1)


def test_top_ranked_passages(read, write):
  top = "11\t3\t-\t-\n10\t4\t-\t-\n12\t1\t-\t-\n11\t1\t-\t-\n10\t3\t-\t-\n"
  folder = write(**FILES, top1000__train__txt=top)
  result = read("msmarco", folder)
  assert [
    (p.query_id, p.positive_ids, p.negative_ids) for p in pairs(result)
  ] == [("10", ("0",), ("4", "3")), ("11", ("1", "2"), ("3",))]
  assert result.ledger.counts["queries_without_relevant"] == 1


def test_sampled_negatives_depend_on_the_query_alone(read, write):
  folder = write(**FILES, qidpidtriples__train__full__tsv=TRIPLES)
  found = {
    read("msmarco", folder, num_negatives=1, sample=seed)
    .pairs[0]
    .pair.negative_ids
    for seed in range(20)
  }
  assert found == {("3",), ("4",)}
  alone = write(
    "alone",
    **FILES,
    qidpidtriples__train__full__tsv="".join(TRIPLES.splitlines(True)[:2]),
  )
  for seed in range(5):
    sampled = [
      read("msmarco", f, num_negatives=1, sample=seed).pairs[0]
      for f in (folder, alone)
    ]
    assert sampled[0] == sampled[1]


def test_fractions_are_nested_and_by_query(read, write):
  numbers = range(1000)
  folder = write(
    collection__tsv="".join(f"{n}\ttext {n}\n" for n in numbers),
    queries__train__tsv="".join(f"{n}\tquery {n}\n" for n in numbers),
    qrels__train__tsv="".join(f"{n}\t0\t{n}\t1\n" for n in numbers),
  )
  kept = {
    fraction: {
      p.query_id for p in pairs(read("msmarco", folder, fraction=fraction))
    }
    for fraction in (0.01, 0.1, 0.5, 1.0)
  }
  assert kept[0.01] <= kept[0.1] <= kept[0.5] <= kept[1.0]
  assert len(kept[1.0]) == 1000
  # Binomial: 100 +- 5 standard deviations of 9.5.
  assert 52 < len(kept[0.1]) < 148
  other = read("msmarco", folder, fraction=0.1, seed=1)
  assert kept[0.1] != {p.query_id for p in pairs(other)}


BAD = {
  "passage id": ("qrels__train__tsv", "10\t0\t99\t1\n", "1: the passage '99'"),
  "query id": ("qrels__train__tsv", "99\t0\t1\t1\n", "1: the query '99' is in"),
  "cells": ("qrels__train__tsv", "1 0 1 1 1\n", "1: got 5 cells"),
  "score": ("qrels__train__tsv", "10\t0\t1\tx\n", "1: the score is 'x'"),
  "repeated": (
    "qrels__train__tsv",
    "10\t0\t1\t1\n10\t0\t1\t1\n",
    "2: query '10' and passage '1' were judged before",
  ),
  "titles": ("collection__tsv", "0\ttitle\tzero\n", "1: got 3 cells.*rocketqa"),
  "no text": ("collection__tsv", "0\tzero\n1\n", "2: got 1 cell "),
  "no id": ("collection__tsv", "0\tzero\n\tone\n", "2: the id '' is empty"),
  "empty": ("collection__tsv", "0\t \n1\tx\n2\tx\n", "1: a positive is empty"),
  "same id": ("collection__tsv", "0\tzero\n0\tone\n", "2: the id '0' is taken"),
  "NUL": ("collection__tsv", "0\tze\0ro\n", "1: "),
  "encoding": ("collection__tsv", b"0\tze\xffro\n", "1: byte 0xff"),
  "blank": ("collection__tsv", "\n0\tzero\n", "1: a blank line"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_lines_are_told_or_counted(read, write, name):
  file, content, message = BAD[name]
  folder = write(**{**FILES, file: content})
  path = folder / file.replace("__", ".")
  with pytest.raises(ValueError, match=f"{path}:{message}") as error:
    read("msmarco", folder)
  assert "\n" not in str(error.value)
  result = read("msmarco", folder, on_bad_line="skip")
  assert result.ledger.left_out.total() >= 1
  assert any(str(path) in note for note in result.notes)


def test_a_cut_gzip_is_an_error_always(read, write):
  content = gzip.compress(FILES["collection__tsv"].encode())[:-9]
  folder = write(**FILES, collection__tsv__gz=content)
  (folder / "collection.tsv").unlink()
  for mode in ("error", "skip"):
    with pytest.raises(ValueError, match="the gzip stream is broken here"):
      read("msmarco", folder, on_bad_line=mode)


def test_rocketqas_titles_are_refused(read, write):
  folder = write(**FILES, **{"para__title__txt": "0\ttitle\n"})
  with pytest.raises(ValueError, match="--format=rocketqa"):
    read("msmarco", folder)


def test_two_lists_of_negatives_are_one_too_many(read, write):
  folder = write(
    **FILES, qidpidtriples__train__tsv=TRIPLES, top1000__train__txt="\n"
  )
  with pytest.raises(ValueError, match="both list negatives"):
    read("msmarco", folder)
