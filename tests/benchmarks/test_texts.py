"""Made-up texts: as many tokens as the batches that they stand for."""

import numpy as np

from benchmarks import texts, training
from gtr_jax.types import TowerName


def test_texts_have_the_tokens_of_the_synthetic_batch():
  tokenizer = texts.tokenizer()
  size = texts.fitting(training.SIZES["tiny"], tokenizer)
  made = texts.pairs(size, 16, tokenizer)
  batch = training.source(size, 16).batch_at(0)
  rows: dict[TowerName, np.ndarray] = {
    "query": batch["query_tokens"],
    "passage": batch["passage_tokens"][:, 0],
  }
  for tower in rows:
    ids, _ = tokenizer.encode(made[tower], 99, tower)
    due = np.count_nonzero(rows[tower], axis=-1)
    assert [len(text) for text in ids] == due.tolist()
    assert max(map(max, ids)) < size.vocab_size


def test_two_processes_make_the_same_texts():
  first, second = texts.tokenizer(), texts.tokenizer()
  assert first.model_bytes == second.model_bytes
  size = training.SIZES["tiny"]
  assert texts.pairs(size, 8, first) == texts.pairs(size, 8, second)
