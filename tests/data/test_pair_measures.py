import numpy as np
import pytest

from gtr_jax.data import pair_measures


def scores(queries, passages):
  """As the evaluator of SeqIO hands on what a model gave in the mode "pair"."""
  queries, passages = np.array(queries, float), np.array(passages, float)
  embeddings = {"query_embeddings": queries, "passage_embeddings": passages}
  return np.sum(queries * passages, axis=1), embeddings


def definition(queries, passages, texts):
  """Query by query, in float64; a tie counts against the own passage."""
  ranks = []
  for row, (query, text) in enumerate(zip(queries, texts, strict=True)):
    own = query @ passages[row]
    others = [
      query @ passage
      for passage, other in zip(passages, texts, strict=True)
      if other != text
    ]
    ranks.append(1 + sum(cosine >= own - 1e-6 for cosine in others))
  return ranks


def test_ranks_are_their_definition(monkeypatch):
  monkeypatch.setattr(pair_measures, "_ROWS", 7)
  rng = np.random.default_rng(0)
  queries, passages = rng.normal(size=(2, 30, 4)).astype(np.float32)
  texts = [f"text {n}" for n in rng.integers(0, 20, 30)]
  ranks = pair_measures.own_ranks(queries, passages, texts)
  assert ranks.tolist() == definition(queries, passages, texts)
  assert len(set(ranks)) > 5


def test_measures_by_hand():
  # The third query's own passage is second: the first one's is nearer.
  given = scores([[1, 0], [0, 1], [1, 0]], [[1, 0], [0, 1], [0.5, 0]])
  measures = pair_measures.retrieval(["a", "b", "c"], given)
  assert measures == {
    "accuracy": pytest.approx(2 / 3),
    "mrr@10": pytest.approx((1 + 1 + 0.5) / 3),
    "recall@100": 1.0,
    "cosine": pytest.approx(2.5 / 3),
  }


def test_one_score_for_all_is_no_success():
  given = scores(np.ones((8, 2)), np.ones((8, 2)))
  measures = pair_measures.retrieval([*"abcdefgh"], given)
  assert measures["accuracy"] == 0 and measures["mrr@10"] == 1 / 8


def test_a_copy_of_the_own_passage_is_no_other():
  given = scores([[1, 0], [0, 1]], [[1, 0], [0, 1]])
  given[1]["passage_embeddings"][:] = 1
  assert pair_measures.retrieval(["a", "a"], given)["accuracy"] == 1


def test_scores_alone_are_refused():
  with pytest.raises(ValueError, match='set INFERENCE_MODE = "pair"'):
    pair_measures.retrieval(["a"], np.ones(1))
