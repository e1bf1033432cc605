"""BM25 against its formula."""

import math

import numpy as np
import pytest

from gtr_jax import bm25

TEXTS = [
  "Green tea leaves in hot water",
  "Coffee beans, coffee cups and water",
  "",
  "Coffee beans coffee cups and water",
  "The leaf of the tree",
]


def definition(query, passages, k1=0.9, b=0.4):
  """Lucene's formula over stemmed words, in float64."""
  mean = sum(map(len, passages)) / len(passages)
  scores = []
  for passage in passages:
    score = 0.0
    for word in query:
      containing = sum(word in other for other in passages)
      idf = math.log(
        1 + (len(passages) - containing + 0.5) / (containing + 0.5)
      )
      frequency = passage.count(word)
      length = 1 - b + b * len(passage) / mean
      score += idf * frequency / (frequency + k1 * length)
    scores.append(score)
  return scores


def test_words_are_stems_without_stop_words():
  assert bm25.words(["The leaves of Trees, a c++"]) == [["leav", "tree"]]


def test_scores_are_lucenes_formula():
  index = bm25.build(TEXTS)
  passages = bm25.words(TEXTS)
  for query in ("hot coffee water", "tea leaves", "coffee coffee cup"):
    (words,) = bm25.words([query])
    np.testing.assert_allclose(
      index.scores(query), definition(words, passages), rtol=1e-5, atol=1e-7
    )


def test_rankings_are_in_the_order_of_the_formula():
  rng = np.random.default_rng(0)
  letters = [f"w{letter}x" for letter in "abcdefgh"]  # No stemmer changes them.
  passages = [
    [str(word) for word in rng.choice(letters, size=rng.integers(2, 7))]
    for _ in range(30)
  ]
  queries = [["wax", "wbx"], ["wcx"], ["wdx", "wex", "wfx"]]
  index = bm25.build(list(map(" ".join, passages)))
  rankings = index.rankings(list(map(" ".join, queries)))
  for query, (found, scores) in zip(queries, rankings, strict=True):
    due = np.array(definition(query, passages))
    np.testing.assert_allclose(scores, due[found], rtol=1e-5)
    np.testing.assert_allclose(due[found], np.sort(due[due > 0])[::-1])


def test_equal_scores_come_in_the_order_of_the_corpus():
  positions, scores = bm25.build(TEXTS).search(["coffee beans"], depth=1)
  assert positions.tolist() == [[1]]
  copies = [f"{'tea' if row % 3 else 'none'} here" for row in range(300)]
  positions, scores = bm25.build(copies).search(["tea"], depth=50)
  assert positions[0].tolist() == [row for row in range(300) if row % 3][:50]
  assert len(set(scores[0].tolist())) == 1


def test_what_shares_no_word_is_not_found():
  queries = ["coffee", "zebra", "", "the of"]
  positions, scores = bm25.build(TEXTS).search(queries, depth=100)
  assert positions.shape == (4, len(TEXTS))
  assert positions[0].tolist() == [1, 3, -1, -1, -1]
  assert (positions[1:] == -1).all()
  np.testing.assert_array_equal(scores == -np.inf, positions == -1)


def test_a_corpus_without_words_is_refused():
  with pytest.raises(ValueError, match="no word in the 2 passages"):
    bm25.build(["", "the"])
