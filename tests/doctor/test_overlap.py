"""Training texts that meet evaluation texts, and those that do not."""

import numpy as np
import pytest

from gtr_jax.doctor import fingerprints, overlap

LONG = " ".join(f"w{number}" for number in range(30))
TEXTS = [("a", "Green tea!"), ("b", LONG), ("c", "green tea"), ("d", "coffee")]


@pytest.fixture
def evaluation():
  return overlap.EvaluationTexts("toy", "corpus", lambda: iter(TEXTS))


@pytest.fixture
def index(evaluation, tmp_path):
  return overlap.build(evaluation, tmp_path / "index")


def keys(*texts):
  return fingerprints.keys(fingerprints.plain(text).encode() for text in texts)


def test_equal_texts_are_met(index):
  hits = overlap.equal_texts(index, keys("milk", " green TEA", "coffee", LONG))
  assert hits.texts.tolist() == [1, 2, 3]
  assert hits.owners.tolist() == [0, 3, 1]  # Of equal ones the first.


def test_shared_runs_are_counted(index):
  inside = " ".join(f"w{number}" for number in range(4, 19))  # 3 runs.
  texts = ["nothing at all", f"look: {inside} and on", "w0 w1 w2"]
  hits = overlap.shared_runs(index, fingerprints.runs(texts))
  assert hits.texts.tolist() == [1]
  assert hits.owners.tolist() == [1]
  assert hits.num_runs.tolist() == [3]
  assert hits.starts.tolist() == [1]  # After "look".


def test_twelve_words_are_no_run(index):
  twelve = " ".join(f"w{number}" for number in range(12))
  hits = overlap.shared_runs(index, fingerprints.runs([f"{twelve} other"]))
  assert len(hits.texts) == 0


def test_an_index_of_nothing_meets_nothing(tmp_path):
  nothing = overlap.EvaluationTexts("none", "corpus", lambda: iter(()))
  index = overlap.build(nothing, tmp_path / "index")
  assert index.num_texts == 0
  assert len(overlap.equal_texts(index, keys("a")).texts) == 0
  assert len(overlap.shared_runs(index, fingerprints.runs([LONG])).texts) == 0


def test_memory_is_bounded_by_keeping_fewer_runs(tmp_path):
  rng = np.random.default_rng(0)
  texts = [" ".join(map(str, rng.integers(0, 10**9, 60))) for _ in range(50)]
  source = overlap.EvaluationTexts(
    "many", "corpus", lambda: ((str(n), text) for n, text in enumerate(texts))
  )
  index = overlap.build(source, tmp_path / "index", most_runs=700)
  assert index.every == 4  # Of 2,400 runs.
  hits = overlap.shared_runs(index, fingerprints.runs(texts))
  assert hits.owners.tolist() == list(range(50))


def test_ids_are_found_again(evaluation):
  assert overlap.ids_of(evaluation, [3, 1]) == {1: "b", 3: "d"}
  assert overlap.ids_of(evaluation, []) == {}
