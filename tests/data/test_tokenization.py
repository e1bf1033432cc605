"""Tokenising with several processes is tokenising with one."""

import numpy as np
import pytest

from gtr_jax import types
from gtr_jax.data import tokenization, vocabulary
from gtr_jax.data.pair import Pair

LENGTHS: dict[types.TowerName, int] = {"query": 6, "passage": 9}


def pairs(count):
  for n in range(count):
    yield Pair(
      f"query {n}", (f"{n} is {n}",) * (1 + n % 2), ("no",) * (n % 3), f"q{n}"
    )


@pytest.fixture(scope="module")
def tokenizer():
  return vocabulary.train(["query 0 1 2 3 4 5 6 7 8 9 is no"], 300)


def joined(chunks):
  chunks = list(chunks)
  columns = ("tokens", "text_sizes", "keys", "num_texts", "num_positives")
  cut = [
    sum(chunk.num_cut[tower] for chunk in chunks)
    for tower in ("query", "passage")
  ]
  arrays = [
    np.concatenate([getattr(chunk, name) for chunk in chunks])
    for name in columns
  ]
  return [*arrays, np.array(cut)]


def test_processes_give_the_chunks_in_order(tokenizer, monkeypatch):
  monkeypatch.setattr(tokenization, "_PAIRS_PER_CHUNK", 64)
  due = joined(tokenization.tokenize(pairs(1500), tokenizer, LENGTHS))
  monkeypatch.setattr(tokenization.os, "sched_getaffinity", lambda pid: {0, 1})
  came = joined(tokenization.tokenize(pairs(1500), tokenizer, LENGTHS, 100))
  for first, second in zip(due, came, strict=True):
    np.testing.assert_array_equal(first, second)
  assert due[-1].min() > 0  # Some were cut.

  def broken():
    yield from pairs(700)
    yield Pair("half a character \ud800", ("p",))
    yield from pairs(10**9)  # Never read to its end.

  with pytest.raises(ValueError, match="a lone surrogate"):
    list(tokenization.tokenize(broken(), tokenizer, LENGTHS, 100))


def test_one_core_needs_no_process(tokenizer, monkeypatch):
  monkeypatch.setattr(tokenization.os, "sched_getaffinity", lambda pid: {0})
  monkeypatch.setattr(tokenization.processes, "executor", None)
  chunks = list(tokenization.tokenize(pairs(3000), tokenizer, LENGTHS, 0))
  assert sum(map(len, chunks)) == 3000
