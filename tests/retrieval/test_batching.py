import numpy as np
import pytest

from gtr_jax.retrieval import batching


def random_lengths(seed, num_texts, longest):
  rng = np.random.default_rng(seed)
  return np.minimum(rng.geometric(0.02, num_texts), longest)


@pytest.mark.parametrize("num_texts", [0, 1, 7, 100, 3000])
@pytest.mark.parametrize("num_devices", [1, 8])
def test_every_text_is_in_one_batch_that_holds_it(num_texts, num_devices):
  lengths = random_lengths(num_texts, num_texts, 700)
  batches = batching.plan(lengths, 2048, num_devices)
  texts = [text for batch in batches for text in batch.texts]
  assert sorted(texts) == list(range(num_texts))
  for batch in batches:
    assert max(lengths[batch.texts]) <= batch.length
    assert len(batch.texts) <= batch.num_rows
    assert batch.num_rows % num_devices == 0
    assert batch.num_rows * batch.length <= max(
      2048 * num_devices, 8 * num_devices * batch.length
    )


def test_shapes_are_few_whatever_the_texts():
  shapes = {
    (batch.num_rows, batch.length)
    for seed in range(200)
    for batch in batching.plan(random_lengths(seed, 10 * seed, 512), 4096)
  }
  assert len(shapes) <= 4 * len(batching.LENGTHS)


def test_much_text_has_little_padding():
  lengths = random_lengths(0, 50_000, 512)
  batches = batching.plan(lengths, 16_384)
  computed = sum(batch.num_rows * batch.length for batch in batches)
  assert computed < 1.3 * lengths.sum()


def test_a_few_texts_are_one_batch():
  (batch,) = batching.plan(np.array([3, 200, 40, 17]), 16_384)
  assert (batch.num_rows, batch.length) == (8, 256)
  (batch,) = batching.plan(np.array([9]), 16_384)
  assert (batch.num_rows, batch.length) == (1, 16)


@pytest.mark.parametrize(
  ("num_tokens", "length"),
  [(0, 16), (1, 16), (16, 16), (17, 32), (512, 512), (513, 640), (999, 1024)],
)
def test_padded_length(num_tokens, length):
  assert batching.padded_length(num_tokens) == length


def test_no_row_is_padding_alone():
  rows = [np.array([], np.int32), np.array([5, 0, 6], np.int32)]
  batch = batching.Batch(np.array([1, 0]), length=4, num_rows=3)
  np.testing.assert_array_equal(
    batching.fill(batch, rows), [[5, 0, 6, 0], [1, 0, 0, 0], [1, 0, 0, 0]]
  )
