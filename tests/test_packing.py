import numpy as np
import pytest

from gtr_jax import packing


def random_sizes(seed, num_texts, mean, longest):
  """Log-normal, as lengths of texts are."""
  draws = np.random.default_rng(seed).lognormal(
    np.log(mean) - 0.125, 0.5, num_texts
  )
  return np.clip(np.rint(draws).astype(np.int64), 1, longest)


def texts_of(sizes, seed=0):
  """Texts in a random order of a flat array, with foreign tokens between."""
  rng = np.random.default_rng(seed)
  order = rng.permutation(len(sizes))
  starts = np.zeros(len(sizes), np.int64)
  starts[order] = 3 + np.cumsum(sizes[order] + 2) - sizes[order]
  tokens = rng.integers(1, 1000, 5 + int((sizes + 2).sum()))
  return packing.from_array(tokens.astype(np.uint16), starts, sizes)


def unpacked(rows, segments, slots):
  """Text number to its tokens, read a cell at a time."""
  texts = {}
  for row, row_segments, row_slots in zip(rows, segments, slots, strict=True):
    for token, segment in zip(row, row_segments, strict=True):
      if segment == 0:
        assert token == 0
      else:
        texts.setdefault(row_slots[segment - 1], []).append(token)
  return texts


CASES = {
  "many": random_sizes(0, 500, 20, 64),
  "with_empty": random_sizes(1, 300, 20, 64) * (np.arange(300) % 3 > 0),
  "all_empty": np.zeros(7, np.int64),
  "none": np.zeros(0, np.int64),
  "one_token": np.ones(50, np.int64),
  "all_equal": np.full(40, 21),
  "whole_rows": np.full(9, 64),
  "one_giant": np.array([1, 2, 64, 3]),
  "one": np.array([5]),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("max_texts", [1, 2, 7, 64])
def test_every_text_is_there_once_and_unchanged(name, max_texts):
  sizes = CASES[name]
  texts = texts_of(sizes)
  slots = packing.place(sizes, 64, max_texts)
  assert slots.shape[1] == max_texts
  numbers = slots[slots >= 0]
  np.testing.assert_array_equal(np.sort(numbers), np.flatnonzero(sizes))
  rows, segments = packing.fill(texts, slots, 64)
  assert rows.shape == segments.shape == (len(slots), 64)
  assert rows.dtype == segments.dtype == slots.dtype == np.int32
  came = unpacked(rows, segments, slots)
  assert came.keys() == set(np.flatnonzero(sizes))
  for number, tokens in came.items():
    start = texts.starts[number]
    due = texts.arrays[0][start : start + sizes[number]]
    np.testing.assert_array_equal(tokens, due)


@pytest.mark.parametrize("seed", range(20))
def test_texts_lie_end_to_end_in_the_order_of_their_slots(seed):
  rng = np.random.default_rng(seed)
  sizes = rng.integers(0, 33, rng.integers(1, 200))
  max_texts = int(rng.integers(1, 20))
  slots = packing.place(sizes, 32, max_texts)
  _, segments = packing.fill(texts_of(sizes), slots, 32)
  for row_segments, row_slots in zip(segments, slots, strict=True):
    numbers = row_slots[row_slots >= 0]
    assert np.all(row_slots[: len(numbers)] >= 0)
    due = np.repeat(1 + np.arange(len(numbers)), sizes[numbers])
    np.testing.assert_array_equal(row_segments[: len(due)], due)
    assert not row_segments[len(due) :].any()


@pytest.mark.parametrize("name", CASES)
def test_rows_are_counted_without_placing(name):
  sizes = CASES[name]
  for max_texts in (1, 4, 64):
    slots = packing.place(sizes, 64, max_texts)
    assert packing.count_rows(sizes, 64, max_texts) == len(slots)
    assert (slots >= 0).any(axis=1).all()


@pytest.mark.parametrize(
  ("num_texts", "least"), [(64, 0.9), (1000, 0.97), (4096, 0.985)]
)
@pytest.mark.parametrize(
  ("mean", "row_length", "max_texts"), [(80, 256, 8), (8, 64, 24)]
)
def test_rows_are_dense(num_texts, least, mean, row_length, max_texts):
  used = []
  for seed in range(10):
    sizes = random_sizes(seed, num_texts, mean, row_length)
    num_rows = packing.count_rows(sizes, row_length, max_texts)
    used.append(sizes.sum() / (num_rows * row_length))
  assert np.mean(used) > least


def test_rows_left_over_are_empty():
  sizes = CASES["many"]
  needed = packing.place(sizes, 64, 8)
  slots = packing.place(sizes, 64, 8, num_rows=len(needed) + 3)
  np.testing.assert_array_equal(slots[:-3], needed)
  assert np.all(slots[-3:] == -1)
  rows, segments = packing.fill(texts_of(sizes), slots, 64)
  assert not rows[-3:].any() and not segments[-3:].any()


def test_what_does_not_fit_is_refused():
  with pytest.raises(ValueError, match="65 tokens, a row 64"):
    packing.place(np.array([3, 65]), 64, 8)
  with pytest.raises(ValueError, match="need 2 rows of 64 tokens, there are 1"):
    packing.place(np.array([40, 40]), 64, 8, num_rows=1)


def test_rows_may_be_longer_than_a_byte_counts():
  sizes = np.array([70_000, 300, 256, 255, 1])
  slots = packing.place(sizes, 70_600, 4)
  np.testing.assert_array_equal(slots, [[0, 1, 2, 4], [3, -1, -1, -1]])


def test_texts_of_a_list_of_arrays():
  arrays = [np.arange(size, dtype=np.int32) + 10 for size in (3, 0, 5)]
  texts = packing.from_arrays(arrays)
  assert len(texts) == 3
  for array, start, size in zip(arrays, texts.starts, texts.sizes, strict=True):
    np.testing.assert_array_equal(texts.arrays[0][start : start + size], array)
  assert len(texts[1:]) == 2 and len(packing.from_arrays([])) == 0
