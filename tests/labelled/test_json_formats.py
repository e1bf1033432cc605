"""Tevatron's, sentence-transformers' and DPR's files, by hand."""

import gzip
import json

import pytest

from gtr_jax.data.pair import Pair


def lines(*records):
  return "".join(json.dumps(record) + "\n" for record in records)


def pairs(result):
  return [labelled.pair for labelled in result.pairs]


TEVATRON = {
  "query_id": "7",
  "query": "why ?",
  "positive_passages": [{"docid": "1", "title": "T", "text": "since"}],
  "negative_passages": [
    {"docid": "2", "title": "-", "text": "not"},
    {"docid": "1", "title": "T", "text": "since"},
    {"docid": 3, "text": "never"},
  ],
}


def test_tevatron(read, write):
  path = write(train__jsonl=lines(TEVATRON)) / "train.jsonl"
  result = read("tevatron", path)
  assert pairs(result) == [
    Pair("why ?", ("T since",), ("not", "never"), "7", ("1",), ("2", "3"))
  ]
  assert result.ledger.filtered == {"positive": 1}
  (dropped,) = pairs(read("tevatron", path, titles="drop"))
  assert dropped.positives == ("since",)


def test_files_with_and_without_titles_are_not_mixed(read, write):
  bare = json.loads(json.dumps(TEVATRON).replace('"T"', '""'))
  folder = write(a__jsonl=lines(TEVATRON), b__jsonl=lines(bare))
  files = [folder / "a.jsonl", folder / "b.jsonl"]
  with pytest.raises(
    ValueError, match="a.jsonl has titles and .*b.jsonl has n"
  ):
    read("tevatron", *files)
  assert len(read("tevatron", *files, titles="drop").pairs) == 2


def test_all_files_of_a_folder(read, write):
  content = lines(TEVATRON)
  folder = write(
    b__jsonl=content, a__jsonl__gz=gzip.compress(content.encode()), c__txt="x"
  )
  assert len(read("tevatron", folder).pairs) == 2
  with pytest.raises(ValueError, match="holds no .json file"):
    read("nq", folder)


SENTENCE_TRANSFORMERS = {
  "triplet": {"query": "q", "positive": "p", "negative": "n"},
  "anchor": {"anchor": "q", "positive": "p", "negative": "n"},
  "answer": {"question": "q", "answer": "p", "negative_1": "n"},
  "lists": {"query": "q", "pos": ["p"], "neg": ["n"]},
  "labels": {"query": "q", "passages": ["n", "p"], "labels": [0, 1]},
}


@pytest.mark.parametrize("name", SENTENCE_TRANSFORMERS)
def test_sentence_transformers(read, write, name):
  path = write(x__jsonl=lines(SENTENCE_TRANSFORMERS[name])) / "x.jsonl"
  assert pairs(read("sentence-transformers", path)) == [
    Pair("q", ("p",), ("n",))
  ]


def test_numbered_negatives_are_in_order_and_keep_their_scores(read, write):
  record = {
    "query": "q",
    "positive": "p",
    "negative_10": "ten",
    "negative_2": "two",
    "negative_1": "one",
    "scores": [0.9, 0.1, 0.2, 0.85],
  }
  path = write(x__jsonl=lines(record)) / "x.jsonl"
  (labelled,) = read("sentence-transformers", path).pairs
  assert labelled.pair.negatives == ("one", "two", "ten")
  assert labelled.positive_scores == (0.9,)
  assert labelled.negative_scores == (0.1, 0.2, 0.85)
  result = read("sentence-transformers", path, margin=0.2)
  assert pairs(result)[0].negatives == ("one", "two")
  assert result.ledger.filtered == {"margin": 1}


def test_scores_of_both_lists(read, write):
  record = {
    "query": "q",
    "pos": ["p", "o"],
    "neg": ["n"],
    "pos_scores": [3, 1],
    "neg_scores": [2],
  }
  path = write(x__jsonl=lines(record)) / "x.jsonl"
  (labelled,) = read("sentence-transformers", path).pairs
  assert labelled.positive_scores == (3.0, 1.0)
  # The lowest positive counts.
  (labelled,) = read("sentence-transformers", path, margin=0.0).pairs
  assert labelled.pair.negatives == ()


def test_neighbouring_labelled_pairs_are_one(read, write):
  rows = [("q", "n", 0), ("q", "p", 1), ("r", "s", 1), ("q", "t", 1)]
  path = write(
    x__jsonl=lines(
      *[{"query": q, "passage": p, "label": label} for q, p, label in rows]
    )
  )
  assert pairs(read("sentence-transformers", path / "x.jsonl")) == [
    Pair("q", ("p",), ("n",)),
    Pair("r", ("s",)),
    Pair("q", ("t",)),
  ]


DPR = [
  {
    "dataset": "nq",
    "question": "who ?",
    "answers": ["x"],
    "positive_ctxs": [
      {"title": "T", "text": "he", "score": 1000, "passage_id": "1"}
    ],
    "negative_ctxs": [{"title": "N", "text": "it", "psg_id": 4}],
    "hard_negative_ctxs": [{"title": "H", "text": "she", "passage_id": "2"}],
  },
  {
    "question": "when ?",
    "positive_ctxs": [{"title": "", "text": "now"}],
    "negative_ctxs": [],
    "hard_negative_ctxs": [],
  },
]


@pytest.fixture
def ijson():
  return pytest.importorskip("ijson", reason="of the extra `data`")


@pytest.mark.parametrize("zipped", [False, True])
def test_dpr(read, write, ijson, zipped):
  content = json.dumps(DPR).encode()
  content = gzip.compress(content) if zipped else b"\xef\xbb\xbf" + content
  path = write(nq__json=content) / "nq.json"
  who = Pair("who ?", ("T he",), ("H she", "N it"), None, ("1",), ("2", "4"))
  result = read("nq", path)
  assert pairs(result) == [who, Pair("when ?", ("now",))]
  assert result.pairs[0].positive_scores is None
  (first, _) = pairs(read("nq", path, systems=("negative_ctxs",)))
  assert first.negatives == ("N it",)
  with pytest.raises(ValueError, match="no negatives of 'bm25'"):
    read("nq", path, systems=("bm25",))


def test_a_cut_dpr_file_is_an_error_always(read, write, ijson):
  path = write(nq__json=json.dumps(DPR)[:-20]) / "nq.json"
  for mode in ("error", "skip"):
    with pytest.raises(
      ValueError, match="nq.json: the JSON breaks after item 1"
    ):
      read("nq", path, on_bad_line=mode)


@pytest.mark.parametrize(
  "content, message",
  [
    ("[" * 200_000 + "]" * 200_000, "item 0 .nested deeper than 100"),
    (
      '[{"question": "' + "a" * (17 << 20),
      "item 0 .a text of more than 16777216 bytes",
    ),
    ('{"question": "who ?"}', "item 0 .one JSON list was due"),
    (json.dumps(DPR) + " []", "item 2 .*trailing garbage"),
    ("[]", "nq.json:1: an empty JSON list"),
    ("", "nq.json:1: the file is empty"),
    (" ", "item 0 .*incomplete|premature"),
    ('[{"question": "\xff"}]', "item 0 .*"),
  ],
)
def test_json_that_is_something_else(read, write, ijson, content, message):
  path = write(nq__json=content.encode("latin-1")) / "nq.json"
  with pytest.raises(ValueError, match=message) as error:
    read("nq", path)
  assert "\n" not in str(error.value)


def test_bad_items_of_dpr(read, write, ijson):
  path = write(nq__json=json.dumps([*DPR, {"question": 1}])) / "nq.json"
  with pytest.raises(ValueError, match="nq.json:item 3: 'question' is a int"):
    read("nq", path)
  result = read("nq", path, on_bad_line="skip")
  assert len(result.pairs) == 2 and result.ledger.left_out == {"bad_item": 1}
  with pytest.raises(ValueError, match="--format=rocketqa"):
    read("nq", write(nq_de1__tsv="x") / "nq_de1.tsv")


BAD = [
  ("tevatron", '{"query": "q"}', "'positive_passages' is no list"),
  ("tevatron", '{"query": "q", "positive_passages": []}', "no positive"),
  (
    "tevatron",
    '{"query": "q", "positive_passages": [{"text": ""}]}',
    "a positive is empty",
  ),
  (
    "tevatron",
    '{"query": "q", "positive_passages": [{"text": 3}]}',
    r"'positive_passages\[0\].text' is a int",
  ),
  ("tevatron", '{"query": " ", "positive_passages": []}', "the query is empty"),
  ("sentence-transformers", "[]", "got a JSON list"),
  ("sentence-transformers", '{"positive": "p"}', "none of the fields query"),
  ("sentence-transformers", '{"query": "q"}', "none of the fields positive"),
  (
    "sentence-transformers",
    '{"query": "q", "positive": "p", "scores": [1, 2]}',
    "'scores' holds 2 numbers for 1 passages",
  ),
  (
    "sentence-transformers",
    '{"query": "q", "positive": "p", "scores": [NaN]}',
    "'scores' is nan, a number was due",
  ),
  (
    "sentence-transformers",
    '{"query": "q", "passages": ["a"], "labels": [0.5]}',
    "a label is neither 0 nor 1",
  ),
  (
    "sentence-transformers",
    '{"query": "q", "positive": "\\ud800"}',
    "'positive' holds half a character",
  ),
]


@pytest.mark.parametrize("format, line, message", BAD)
def test_bad_lines_are_told_or_counted(read, write, format, line, message):
  good = TEVATRON if format == "tevatron" else SENTENCE_TRANSFORMERS["triplet"]
  path = write(x__jsonl=line + "\n" + lines(good)) / "x.jsonl"
  with pytest.raises(ValueError, match=f"{path}:1: .*{message}") as error:
    read(format, path)
  assert "\n" not in str(error.value)
  result = read(format, path, on_bad_line="skip")
  assert len(result.pairs) == 1
  assert result.ledger.left_out.total() >= 1 and result.notes
