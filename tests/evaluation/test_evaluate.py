"""From an encoder or a ranking to figures, with every choice on record."""

import dataclasses
import zlib

import jax
import numpy as np
import pytest

from gtr_jax.evaluation import evaluate, measures, report
from gtr_jax.evaluation.collection import Collection
from gtr_jax.retrieval.ranking import Ranking

WORDS = ["tea", "coffee", "water", "leaf", "bean", "cup", "milk", "sugar"]


@dataclasses.dataclass(frozen=True)
class WordEncoder:
  """Unit vectors of hashed words; a text is cut to `length` words."""

  query_length: int = 8
  passage_length: int = 6
  mesh: jax.sharding.Mesh | None = None
  width: int = 32

  def encode_texts(self, texts, tower, report=None):
    limit = self.query_length if tower == "query" else self.passage_length
    vectors = np.zeros((len(texts), self.width), np.float32)
    for row, text in enumerate(texts):
      for word in text.split()[:limit]:
        vectors[row, zlib.crc32(word.encode()) % self.width] += 1
      if report:
        report(1)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(norms, 1e-9), sum(
      len(text.split()) > limit for text in texts
    )


@dataclasses.dataclass(frozen=True)
class RandomEncoder(WordEncoder):
  """A random unit vector for each text, the same for copies of one."""

  def encode_texts(self, texts, tower, report=None):
    seeds = [zlib.crc32(f"{tower} {text}".encode()) for text in texts]
    vectors = [np.random.default_rng(s).normal(size=self.width) for s in seeds]
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / norms).astype(np.float32), 0


def random_collection(num_passages=200, num_queries=12, seed=0):
  rng = np.random.default_rng(seed)
  texts = [
    " ".join(rng.choice(WORDS, size=rng.integers(2, 9)))
    for _ in range(num_passages)
  ]
  ids = [f"d{row}" for row in rng.permutation(num_passages)]
  qrels = {
    f"q{row}": {
      ids[place]: int(score)
      for place, score in zip(
        rng.choice(num_passages, 4, replace=False), [1, 2, 1, 0], strict=True
      )
    }
    for row in range(num_queries)
  }
  queries = {
    query: " ".join(rng.choice(WORDS, size=3, replace=False)) for query in qrels
  }
  return Collection("toy", "test", ids, [""] * len(ids), texts, queries, qrels)


def ranking_of(run, ids):
  """The ranking that lists these passages."""
  depth = max(map(len, run.values()))
  positions = np.full((len(run), depth), -1, np.int64)
  scores = np.full((len(run), depth), -np.inf, np.float32)
  for row, passages in enumerate(run.values()):
    positions[row, : len(passages)] = [ids.index(p) for p in passages]
    scores[row, : len(passages)] = np.arange(len(passages))[::-1]
  return Ranking(list(run), ids, positions, scores)


def test_search_and_measures_agree_with_sorting_by_hand():
  collection, encoder = random_collection(), RandomEncoder()
  queries, _ = encoder.encode_texts(list(collection.queries.values()), "query")
  passages, _ = encoder.encode_texts(collection.texts, "passage")
  scores = queries.astype(np.float64) @ passages.T.astype(np.float64)
  run = {
    query: [collection.ids[i] for i in np.argsort(-row, kind="stable")[:100]]
    for query, row in zip(collection.queries, scores, strict=True)
  }
  results = evaluate.evaluate(encoder, collection)
  due = measures.per_query(run, collection.qrels)
  for query, values in results.per_query.items():
    assert values == pytest.approx(due[query], abs=1e-12)
  assert results.means == measures.means(results.per_query)


@dataclasses.dataclass(frozen=True)
class BlindEncoder(WordEncoder):
  """Sees no difference between any two texts."""

  def encode_texts(self, texts, tower, report=None):
    return np.full((len(texts), 4), 0.5, np.float32), 0


def test_a_blind_model_ranks_by_place_in_every_measure():
  ids = ["z", "m", "a", "y"]
  queries, qrels = {"q": "which"}, {"q": {"a": 1}}
  texts = ["one", "two", "three", "four"]
  collection = Collection("c", "test", ids, [""] * 4, texts, queries, qrels)
  results = evaluate.evaluate(BlindEncoder(), collection)
  assert results.ranking.passage_ids() == {"q": ids}
  assert results.means["mrr@10"] == pytest.approx(1 / 3)
  assert results.means["map@100"] == pytest.approx(1 / 3)
  assert results.means["ndcg@10"] == pytest.approx(1 / 2)


def test_the_passage_with_the_querys_own_id_is_dropped():
  """As in ArguAna and Quora, where each query is a passage too."""
  ids = ["q1", "other", "d1"]
  collection = Collection(
    name="c",
    split="test",
    ids=ids,
    titles=["", "", ""],
    texts=["tea leaf", "kettle", "tea"],
    queries={"q1": "tea leaf"},
    qrels={"q1": {"d1": 1}},
  )
  results = evaluate.evaluate(WordEncoder(), collection)
  assert results.ranking.passage_ids() == {"q1": ["d1", "other"]}
  assert results.means["mrr@10"] == 1


def test_depth_holds_after_the_own_id_is_dropped():
  texts = ["tea"] * 150
  ids = ["q", *map(str, range(149))]
  collection = Collection(
    "c", "test", ids, [""] * 150, texts, {"q": "tea"}, {"q": {"99": 1}}
  )
  results = evaluate.evaluate(WordEncoder(), collection)
  assert results.ranking.passage_ids()["q"] == list(map(str, range(100)))
  assert results.means["recall@100"] == 1


def test_titles_are_read_with_the_text():
  collection = Collection(
    name="c",
    split="test",
    ids=["plain", "titled"],
    titles=["", "kettle"],
    texts=["water", "water"],
    queries={"q": "kettle water"},
    qrels={"q": {"titled": 1}},
  )
  assert evaluate.evaluate(WordEncoder(), collection).means["mrr@10"] == 1


def test_what_was_cut_is_on_record():
  collection = random_collection()
  results = evaluate.evaluate(WordEncoder(query_length=2), collection)
  num_long = sum(len(text.split()) > 6 for text in collection.texts)
  assert results.num_cut == {"query": 12, "passage": num_long}
  assert results.truncation_rate == {"query": 1.0, "passage": num_long / 200}
  assert results.policy["query_length"] == 2
  assert results.policy["truncation_rate"] == results.truncation_rate
  assert results.policy["qrels_sha256"] == collection.qrels_sha256
  assert results.policy["ties"] == "score, then place in the corpus"
  assert report.summary(results)["truncated"] == 12 + num_long


def test_progress_adds_up_to_all_texts():
  collection, done = random_collection(), []
  evaluate.evaluate(WordEncoder(), collection, report=done.append)
  assert sum(done) == 212


def test_a_second_evaluation_compiles_nothing(caplog):
  """Evaluation during training pays for compilation once."""
  collection = random_collection()

  def num_compiled():
    caplog.clear()
    with jax.log_compiles(), caplog.at_level("WARNING"):
      evaluate.evaluate(WordEncoder(width=24), collection)
    return sum("ompiling" in r.getMessage() for r in caplog.records)

  assert num_compiled() > 0
  assert num_compiled() == 0


def test_a_run_of_several_devices_is_that_of_one(mesh):
  collection = random_collection()
  one = evaluate.evaluate(WordEncoder(), collection)
  eight = evaluate.evaluate(WordEncoder(mesh=mesh), collection)
  assert eight.ranking.passage_ids() == one.ranking.passage_ids()


def test_missing_queries_are_counted():
  collection = random_collection(num_queries=2)
  best = next(p for p, s in collection.qrels["q0"].items() if s > 0)
  ranking = ranking_of({"q0": [best]}, collection.ids)
  zero = evaluate.measure(ranking, collection)
  skip = evaluate.measure(ranking, collection, missing="skip")
  assert zero.means["mrr@10"] == 0.5
  assert skip.means["mrr@10"] == 1
  assert zero.policy["num_missing_queries"] == 1
  assert (zero.policy["missing_queries"], skip.policy["missing_queries"]) == (
    "zero",
    "skip",
  )


def test_a_ranking_of_another_corpus_is_refused():
  collection = random_collection()
  stranger = ranking_of({"q0": ["x", "y"]}, ["x", "y"])
  with pytest.raises(ValueError, match="none of the 2 ranked passages"):
    evaluate.measure(stranger, collection)
  ids = [*collection.ids[:5], "x"]
  mixed = evaluate.measure(ranking_of({"q0": ids}, ids), collection)
  assert mixed.policy["num_unknown_passages"] == 1


def test_depth_below_the_measures_is_refused():
  with pytest.raises(ValueError, match="recall@100 needs rankings of 100"):
    evaluate.evaluate(WordEncoder(), random_collection(), depth=99)
