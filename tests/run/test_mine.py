"""`gtr mine`: which passages become negatives, and which must not."""

import dataclasses
import functools
import json

import numpy as np
import pytest

from gtr_jax.data import negative_rules, sources
from gtr_jax.evaluation.collection import Collection
from gtr_jax.run import hard_negatives, mine, model_directory

TEXTS = [
  "the answer",  # The positive.
  "very near",
  "near",
  "The  Answer",  # A copy of the positive.
  "what is it",  # A copy of the query.
  "",
  "far",
  "NEAR",  # A copy of another negative.
  "farther",
]
SCORES = [0.8, 0.79, 0.7, 0.8, 0.9, 0.6, 0.5, 0.7, -0.2]


@pytest.fixture
def collection():
  ids = [f"d{place}" for place in range(len(TEXTS))]
  return Collection(
    name="c",
    split="train",
    ids=ids,
    titles=[""] * len(ids),
    texts=TEXTS,
    queries={"q": "What is it"},
    qrels={"q": {"d0": 1, "d8": 0}},
  )


@pytest.fixture
def candidates():
  order = np.argsort(-np.array(SCORES), kind="stable")
  scores = np.array(SCORES, np.float32)
  return hard_negatives.Candidates([order[None]], lambda row, p: scores[p])


def negatives_of(collection, candidates, **rules):
  mined = hard_negatives.mine(
    collection, candidates, negative_rules.Rules(**rules)
  )
  (pair,) = mined.pairs
  return list(pair.negatives), dict(mined.filtered)


ALWAYS = {
  "positive": 1,
  "copy_of_positive": 1,
  "copy_of_query": 1,
  "copy_of_negative": 1,
  "empty": 1,
}


def test_answers_copies_and_empty_passages_are_no_negatives(
  collection, candidates
):
  negatives, filtered = negatives_of(collection, candidates, num_negatives=99)
  assert negatives == ["very near", "near", "far", "farther"]
  assert filtered == ALWAYS


@pytest.mark.parametrize(
  "rule, kept",
  [
    ({"max_score": 0.7}, ["near", "far", "farther"]),
    ({"max_score": 0.69}, ["far", "farther"]),
    ({"margin": 0.05}, ["near", "far", "farther"]),
    ({"margin": 0.25}, ["far", "farther"]),
    ({"relative_margin": 0.05}, ["near", "far", "farther"]),  # To 0.76.
    ({"relative_margin": 0.2}, ["far", "farther"]),  # To 0.64.
  ],
)
def test_limits_of_the_score(collection, candidates, rule, kept):
  negatives, filtered = negatives_of(
    collection, candidates, num_negatives=99, **rule
  )
  assert negatives == kept
  (name,) = rule
  gone = {"very near", "near", "far", "farther"} - set(kept)
  # A second copy of a passage that is too near is too near, not a copy.
  assert filtered[name] == len(gone) + ("near" in gone)


def test_a_relative_margin_of_a_negative_score_points_down():
  rules = negative_rules.Rules(relative_margin=0.1)
  assert rules.too_near(-0.5, positive=-0.5) == "relative_margin"
  assert rules.too_near(-0.56, positive=-0.5) is None


def test_the_lowest_of_several_positives_sets_the_margin(
  collection, candidates
):
  collection.qrels["q"]["d6"] = 1  # Scores 0.5.
  negatives, _ = negatives_of(
    collection, candidates, num_negatives=99, margin=0.1
  )
  assert negatives == ["farther"]


def test_the_first_are_taken_or_some_are_drawn(collection, candidates):
  first, _ = negatives_of(collection, candidates, num_negatives=2)
  assert first == ["very near", "near"]
  draws = [
    negatives_of(collection, candidates, num_negatives=2, seed=seed)[0]
    for seed in range(30)
  ]
  again = negatives_of(collection, candidates, num_negatives=2, seed=7)[0]
  assert again == draws[7]
  assert {text for draw in draws for text in draw} == {
    "very near",
    "near",
    "far",
    "farther",
  }
  assert all(len(set(draw)) == 2 for draw in draws)


def test_two_searches_take_turns(collection, candidates):
  other = np.array([[6, 1, 8, 2, -1]])
  both = hard_negatives.Candidates(
    [*candidates.searches, other], candidates.score
  )
  firsts = set()
  for query in map(str, range(20)):
    renamed = dataclasses.replace(
      collection,
      queries={query: "which"},
      qrels={query: collection.qrels["q"]},
    )
    four, _ = negatives_of(renamed, both, num_negatives=4)
    assert four in (
      ["what is it", "far", "very near", "near"],
      ["far", "what is it", "very near", "farther"],
    )
    firsts.add(four[0])
  assert firsts == {"what is it", "far"}, "both come first for some query"


def test_a_query_whose_answers_are_empty_makes_no_pair(collection, candidates):
  collection.qrels["q"].clear()
  collection.qrels["q"]["d5"] = 1
  mined = hard_negatives.mine(collection, candidates, negative_rules.Rules())
  assert mined.pairs == []
  assert mined.num_unusable == 1


PASSAGES = {
  "d1": ("tea", "green tea leaves steep in hot water"),
  "d2": ("", "black tea leaves steep longer"),
  "d3": ("", "coffee beans are roasted"),
  "d4": ("", "coffee beans are ground"),
  "d5": ("", "milk"),
}


@pytest.fixture
def data(tmp_path):
  folder = tmp_path / "data"
  (folder / "qrels").mkdir(parents=True)
  corpus = [
    {"_id": key, "title": title, "text": text}
    for key, (title, text) in PASSAGES.items()
  ]
  queries = [
    {"_id": "q1", "text": "how long do green tea leaves steep"},
    {"_id": "q2", "text": "are coffee beans roasted"},
    {"_id": "q3", "text": "milk"},
  ]
  for name, records in (("corpus", corpus), ("queries", queries)):
    text = "\n".join(map(json.dumps, records))
    (folder / f"{name}.jsonl").write_text(text)
  judgements = "q1\td1\t1\nq2\td3\t1\nq3\td5\t1\n"
  (folder / "qrels" / "train.tsv").write_text(judgements)
  return folder


@pytest.fixture
def gtr(call_program):
  return functools.partial(call_program, mine.main)


def test_bm25_writes_pairs_that_training_reads(data, tmp_path, gtr):
  output = tmp_path / "new/pairs.jsonl"
  status, result, error = gtr("--bm25", "--data", data, "--output", output)
  assert (status, error) == (0, "")
  assert {"pairs", "negatives", "filtered"} <= set(result)
  assert (result["pairs"], result["negatives"]) == (3, 2)
  assert result["without_negatives"] == 1
  first, second, third = sources.read_pairs([output])
  assert first.positives == ("tea green tea leaves steep in hot water",)
  assert first.negatives == ("black tea leaves steep longer",)
  assert (first.query_id, first.positive_ids) == ("q1", ("d1",))
  assert first.negative_ids == ("d2",)
  assert second.negatives == ("coffee beans are ground",)
  assert third.negatives == ()


def test_ranks_at_the_top_are_skipped(data, tmp_path, gtr):
  output = tmp_path / "pairs.jsonl"
  status, result, _ = gtr(
    *("--bm25", "--data", data, "--output", output),
    *("--skip_top", 2, "--depth", 5),
  )
  assert (status, result["negatives"]) == (0, 0)


@dataclasses.dataclass(frozen=True)
class Partial:
  """A model that thinks that milk is the best answer to everything."""

  mesh = None

  def encode_texts(self, texts, tower, report=None):
    del tower, report
    special = {"milk": [1, 0], PASSAGES["d4"][1]: [0.6, 0.8]}
    rows = [special.get(text, [0.8, 0.6]) for text in texts]
    return np.array(rows, np.float32), 0


@pytest.fixture
def model(monkeypatch):
  """Flags that take `Partial` for a model directory; its last lengths."""
  lengths = []

  def encoder(path, step, query_length, passage_length):
    del path, step
    lengths.append((query_length, passage_length))
    return Partial()

  monkeypatch.setattr(model_directory, "encoder", encoder)
  return lengths


def test_a_model_searches(data, tmp_path, gtr, model):
  output = tmp_path / "pairs.jsonl"
  arguments = ["--model", "m", "--data", data, "--output", output]
  status, result, error = gtr(*arguments, "--num_negatives", 9)
  assert status == 0, error
  assert model == [(64, 512)]
  first, second, third = sources.read_pairs([output])
  # [0.8, 0.6] against itself 1.0, [0.6, 0.8] 0.96, [1, 0] 0.8.
  assert first.negative_ids == ("d2", "d3", "d4", "d5")
  assert second.negative_ids == ("d1", "d2", "d4", "d5")
  assert third.negative_ids == ("d1", "d2", "d3", "d4")
  assert result["filtered"] == {"positive": 3}
  gtr(*arguments, "--num_negatives", 9, "--margin", 0.1)
  first, *_ = sources.read_pairs([output])
  assert first.negative_ids == ("d5",)


def test_a_model_and_bm25_take_turns(data, tmp_path, gtr, model):
  """The scores that the filters see are the model's."""
  output = tmp_path / "pairs.jsonl"
  arguments = ["--model", "m", "--bm25", "--data", data, "--output", output]
  gtr(*arguments, "--num_negatives", 2)
  second = list(sources.read_pairs([output]))[1]
  assert second.query_id == "q2"
  # The model's first is d1, BM25's first but for the positive is d4.
  assert set(second.negative_ids or ()) == {"d1", "d4"}
  gtr(*arguments, "--num_negatives", 2, "--max_score", 0.97)
  second = list(sources.read_pairs([output]))[1]
  assert second.negative_ids == ("d4", "d5")
  assert model[-1] == (64, 512)


def test_the_same_seed_writes_the_same_file(data, tmp_path, gtr, model):
  def mined(seed):
    output = tmp_path / "pairs.jsonl"
    gtr("--model", "m", "--data", data, "--output", output, "--seed", seed)
    return output.read_bytes()

  assert mined(3) == mined(3)
  assert len({mined(seed) for seed in range(8)}) > 1


@pytest.mark.parametrize(
  "arguments, message",
  [
    ([], "nothing to search with"),
    (["--bm25", "--num_negatives", "0"], "--num_negatives is 0"),
    (["--bm25", "--skip_top", "9", "--depth", "9"], "leave no rank"),
    (["--bm25", "--seed", "-1"], "--seed is -1"),
    (["--bm25", "--split", "test"], "its splits are train"),
    (["--model", "{tmp}/absent"], "is no model directory"),
  ],
)
def test_mistakes_are_one_line(data, tmp_path, gtr, arguments, message):
  filled = [argument.format(tmp=tmp_path) for argument in arguments]
  output = tmp_path / "pairs.jsonl"
  status, result, error = gtr("--data", data, "--output", output, *filled)
  assert (status, result) == (2, None)
  assert message in error
  assert len(error.splitlines()) == 1
  assert not output.exists()
