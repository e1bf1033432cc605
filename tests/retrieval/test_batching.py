import numpy as np
import pytest

from gtr_jax import packing
from gtr_jax.retrieval import batching


def random_lengths(seed, num_texts, longest):
  rng = np.random.default_rng(seed)
  return np.minimum(rng.geometric(0.02, num_texts), longest)


def log_normal_lengths(num_texts, mean, longest):
  draws = np.random.default_rng(0).lognormal(
    np.log(mean) - 0.125, 0.5, num_texts
  )
  return np.clip(np.rint(draws).astype(np.int64), 2, longest)


def num_cells(batches):
  return sum(batch.slots.shape[0] * batch.length for batch in batches)


def is_packed(batches):
  return batches[0].slots.shape[1] > 1


@pytest.mark.parametrize("num_texts", [0, 1, 7, 100, 3000])
@pytest.mark.parametrize("num_devices", [1, 8])
@pytest.mark.parametrize("packs", [True, False])
def test_every_text_is_in_one_batch_that_holds_it(
  num_texts, num_devices, packs
):
  lengths = random_lengths(num_texts, num_texts, 700)
  lengths[::5] = 0
  batches = batching.plan(lengths, batching.Room(2048, num_devices), packs)
  texts = [text for batch in batches for text in batch.texts]
  assert sorted(texts) == np.flatnonzero(lengths).tolist()
  for batch in batches:
    num_rows = len(batch.slots)
    there = batch.slots >= 0
    tokens = np.where(there, lengths[batch.slots], 0).sum(axis=1)
    assert tokens.max() <= batch.length
    assert num_rows % num_devices == 0
    assert num_rows * batch.length <= max(
      2048 * num_devices, 8 * num_devices * batch.length
    )
    assert packs or batch.slots.shape[1] == 1


def test_shapes_are_few_whatever_the_texts():
  shapes = {
    (*batch.slots.shape, batch.length)
    for seed in range(200)
    for batch in batching.plan(
      random_lengths(seed, 10 * seed, 512), batching.Room(4096)
    )
  }
  lengths = len(batching.LENGTHS) + len(batching.PACKED_LENGTHS)
  assert len(shapes) <= 4 * lengths


@pytest.mark.parametrize("num_texts", [0, 1, 3])
def test_texts_without_tokens_are_nowhere(num_texts):
  assert batching.plan(np.zeros(num_texts, np.int64), batching.Room(64)) == []


@pytest.mark.parametrize(("packs", "most"), [(True, 1.05), (False, 1.3)])
def test_much_text_has_little_padding(packs, most):
  lengths = random_lengths(0, 50_000, 512)
  batches = batching.plan(lengths, batching.Room(16_384), packs)
  assert is_packed(batches) == packs
  assert num_cells(batches) < most * lengths.sum()


def test_queries_are_half_the_work_packed():
  lengths = log_normal_lengths(4096, 8, 64)
  room = batching.Room(8192)
  packed, padded = (batching.plan(lengths, room, p) for p in (True, False))
  assert num_cells(packed) < 0.6 * num_cells(padded)


def test_texts_are_packed_only_where_that_is_less_work():
  room = batching.Room(8192)
  assert not is_packed(batching.plan(np.full(4096, 512), room))
  assert not is_packed(batching.plan(np.full(4096, 300), room))
  assert not is_packed(batching.plan(np.full(4096, 250), room))
  assert is_packed(batching.plan(np.full(4096, 10), room))


def test_short_texts_do_not_pay_for_long_ones():
  lengths = np.concatenate([np.full(4096, 9), np.full(64, 500)])
  batches = batching.plan(lengths, batching.Room(8192))
  assert {batch.length for batch in batches} == {64, 512}


def test_attention_in_long_rows_counts():
  # Rows of 512 for all would have as few cells.
  lengths = np.concatenate([np.full(4096, 36), np.full(64, 500)])
  batches = batching.plan(lengths, batching.Room(8192))
  assert {batch.length for batch in batches} == {256, 512}


def test_a_few_texts_are_one_batch():
  room = batching.Room(16_384)
  (batch,) = batching.plan(np.array([3, 200, 40, 17]), room, packs=False)
  assert (batch.slots.shape, batch.length) == ((8, 1), 256)
  (batch,) = batching.plan(np.array([9]), room)
  assert (batch.slots.shape, batch.length) == ((1, 1), 16)


@pytest.mark.parametrize(
  ("num_tokens", "length"),
  [(0, 16), (1, 16), (16, 16), (17, 32), (512, 512), (513, 640), (999, 1024)],
)
def test_padded_length(num_tokens, length):
  assert batching.padded_length(num_tokens) == length


def test_padding_inside_a_text_has_no_segment():
  texts = packing.from_arrays([np.array([7]), np.array([5, 0, 6])])
  batch = batching.Batch(np.array([[1, 0], [-1, -1]]), length=5)
  tokens, segments = batching.fill(batch, texts)
  np.testing.assert_array_equal(tokens, [[5, 0, 6, 7, 0], [0] * 5])
  np.testing.assert_array_equal(segments, [[1, 0, 1, 2, 0], [0] * 5])
