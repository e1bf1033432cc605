import json

import numpy as np
import pytest

from gtr_jax import types
from gtr_jax.data import synthetic


def make(**options):
  return synthetic.SyntheticBatches(
    **{"batch_size": 64, "num_negatives": 1, **options}
  )


def lengths(tokens):
  return (tokens > 0).sum(axis=-1)


def test_shapes():
  batches: types.Batches = make(query_length=16, passage_length=32)
  shapes = {name: rows.shape for name, rows in next(batches).items()}
  assert shapes == {
    "query_tokens": (64, 16),
    "passage_tokens": (64, 2, 32),
    "query_keys": (64, 2),
    "passage_keys": (64, 2, 2),
    "positive_keys": (64, 1, 2),
    "example_ids": (64,),
  }


def test_texts_are_tokens_then_eos_then_padding():
  batch = next(make(vocab_size=100, passage_length=40))
  for name in ("query_tokens", "passage_tokens"):
    tokens = batch[name].reshape(-1, batch[name].shape[-1])
    assert tokens.dtype == np.int32 and tokens.max() < 100
    for row, length in zip(tokens, lengths(tokens), strict=True):
      assert row[length - 1] == synthetic.EOS_ID
      assert np.all(row[: length - 1] > 2) and not row[length:].any()


def test_lengths_are_those_of_real_texts():
  batch = next(make(batch_size=4096, query_length=512, passage_length=2048))
  assert abs(lengths(batch["query_tokens"]).mean() - 8) < 0.3
  assert abs(lengths(batch["passage_tokens"]).mean() - 80) < 2


def test_a_query_repeats_its_positive():
  batch = next(make())
  for query, (positive, negative) in zip(
    batch["query_tokens"], batch["passage_tokens"], strict=True
  ):
    words = set(query[query > 2])
    assert words <= set(positive)
    assert not words <= set(negative)


def test_no_two_texts_have_the_same_key():
  batches = make()
  keys = [next(batches)["passage_keys"][..., 1].ravel() for _ in range(3)]
  assert len(np.unique(np.concatenate(keys))) == 3 * 128
  assert np.all(np.concatenate(keys) != 0)


@pytest.mark.parametrize("process_count", [2, 4])
def test_processes_share_one_global_batch(process_count):
  parts = [
    make(process_index=index, process_count=process_count).batch_at(5)
    for index in range(process_count)
  ]
  for name, rows in make().batch_at(5).items():
    np.testing.assert_array_equal(
      np.concatenate([part[name] for part in parts]), rows
    )


def test_resuming_is_exact():
  batches = make()
  for _ in range(3):
    next(batches)
  resumed = make()
  resumed.restore(json.loads(json.dumps(batches.position())))
  due = next(batches)
  for name, rows in next(resumed).items():
    np.testing.assert_array_equal(rows, due[name])
  with pytest.raises(ValueError, match="seed 0, this stream 1"):
    make(seed=1).restore(batches.position())


def test_what_makes_no_sense_is_refused():
  with pytest.raises(ValueError, match="does not divide"):
    make(process_count=3)
  with pytest.raises(ValueError, match="vocab_size is 3"):
    make(vocab_size=3)
