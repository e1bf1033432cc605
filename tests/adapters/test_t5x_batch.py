"""What stands between T5X and an objective, and needs no T5X."""

import jax.numpy as jnp
import numpy as np
import pytest

from gtr_jax.adapters import t5x_batch

LEFT = np.array([[5, 6, 1, 0], [5, 6, 1, 0], [0, 0, 0, 0], [6, 5, 1, 0]])
RIGHT = np.array([[7, 1, 0], [8, 1, 0], [7, 1, 0], [1, 7, 0]])
NEGATIVES = np.array([[8, 1, 0], [0, 0, 0], [9, 1, 0], [9, 9, 1]])


def retrieval_features(**more):
  """As T5X Retrieval's feature converters give them."""
  return {
    "left_encoder_input_tokens": LEFT,
    "right_encoder_input_tokens": RIGHT,
    **more,
  }


@pytest.mark.parametrize("rank", [None, 2, 3])
def test_left_and_right_are_query_and_passage(rank):
  more = {}
  due = RIGHT[:, None]
  if rank:
    negatives = NEGATIVES if rank == 2 else NEGATIVES[:, None]
    more = {"right_negative_encoder_input_tokens": negatives}
    due = np.stack([RIGHT, NEGATIVES], axis=1)
  batch = t5x_batch.from_features(retrieval_features(**more))
  np.testing.assert_array_equal(batch["query_tokens"], LEFT)
  np.testing.assert_array_equal(batch["passage_tokens"], due)
  np.testing.assert_array_equal(
    batch["positive_keys"], batch["passage_keys"][:, :1]
  )
  assert batch["query_keys"].shape == (4, 2)
  assert batch["passage_keys"].shape == (*due.shape[:2], 2)


def test_keys_are_equal_where_texts_are():
  keys = np.asarray(t5x_batch.text_keys(jnp.asarray(LEFT)))
  assert keys.dtype == np.int32 and not keys[:, 0].any()
  first, copy, empty, other = keys[:, 1]
  assert first == copy != other and empty == 0 != first


def test_keys_of_many_texts_are_distinct():
  rng = np.random.default_rng(0)
  texts = np.unique(rng.integers(0, 3, (50_000, 16)), axis=0)
  texts = texts[texts.any(axis=1)]
  hashes = np.asarray(t5x_batch.text_keys(jnp.asarray(texts)))[:, 1]
  # Of 50,000 texts, 0.3 pairs meet in 2^32 values on average.
  assert len(np.unique(hashes)) > len(texts) - 5 and hashes.all()


def test_given_keys_are_kept():
  given = {
    "query_tokens": LEFT,
    "passage_tokens": RIGHT[:, None],
    "query_keys": np.ones((4, 2), np.int32),
    "passage_keys": np.ones((4, 1, 2), np.int32),
    "positive_keys": np.ones((4, 3, 2), np.int32),
  }
  batch = t5x_batch.from_features(given)
  assert all(batch[name] is given[name] for name in given)


def test_other_features_are_refused():
  with pytest.raises(ValueError, match="the features are encoder_input_tokens"):
    t5x_batch.from_features({"encoder_input_tokens": LEFT})


def test_a_part_of_the_batch_is_refused():
  t5x_batch.refuse_microbatch(16, 16)
  t5x_batch.refuse_microbatch(32, 16)
  with pytest.raises(
    ValueError, match=r"given 4 of the 16 .*num_microbatches = None.*CHUNKS = 4"
  ):
    t5x_batch.refuse_microbatch(4, 16)
  with pytest.raises(ValueError, match="the global batch is not known"):
    t5x_batch.refuse_microbatch(4, None)
