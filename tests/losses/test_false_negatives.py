"""Which cells are masked: every rule by a case, all of them by a loop."""

import jax.numpy as jnp
import numpy as np

from gtr_jax.losses import false_negatives


def definition(queries, passages, positives):
  """The rules, one cell at a time."""
  num_queries, num_passages, _ = passages.shape
  same = lambda a, b: any(x == y != 0 for x, y in zip(a, b, strict=True))
  mask = np.zeros((num_queries, num_queries * num_passages), bool)
  for b in range(num_queries):
    for c in range(num_queries):
      for k in range(num_passages):
        passage = passages[c, k]
        mask[b, c * num_passages + k] = (
          not passage.any()
          or any(same(passage, known) for known in positives[b])
          or (k == 0 and same(queries[b], queries[c]))
        )
  return mask


def test_is_its_definition():
  rng = np.random.default_rng(0)
  queries = rng.integers(0, 6, (7, 2))
  passages = rng.integers(0, 9, (7, 3, 2))
  positives = rng.integers(0, 9, (7, 2, 2))
  positives[:, 0] = passages[:, 0]
  actual = false_negatives.excluded(
    *map(jnp.array, (queries, passages, positives))
  )
  np.testing.assert_array_equal(
    actual, definition(queries, passages, positives)
  )


def cells(queries, passages, positives):
  return np.argwhere(
    np.array(
      false_negatives.excluded(*map(jnp.array, (queries, passages, positives)))
    )
  ).tolist()


def keys(*texts):
  """No ids; the text is its own hash."""
  return np.array([[0, text] for text in texts])


OWN = [[0, 0], [1, 1], [2, 2]]


def test_different_texts_leave_only_the_own_positive():
  passages = keys(1, 2, 3)[:, None]
  assert cells(keys(7, 8, 9), passages, passages) == OWN


def test_a_copy_of_the_positive_is_masked_both_ways():
  passages = keys(1, 2, 1)[:, None]
  assert cells(keys(7, 8, 9), passages, passages) == sorted(
    [*OWN, [0, 2], [2, 0]]
  )


def test_the_same_id_is_enough():
  passages = np.array([[[5, 1]], [[5, 2]], [[6, 3]]])
  assert cells(keys(7, 8, 9), passages, passages) == sorted(
    [*OWN, [0, 1], [1, 0]]
  )


def test_another_known_positive_of_the_query_is_masked_for_it_alone():
  passages = keys(1, 2, 3)[:, None]
  positives = np.stack([keys(1, 3), keys(2, 0), keys(3, 0)])
  assert cells(keys(7, 8, 9), passages, positives) == sorted([*OWN, [0, 2]])


def test_a_copy_of_the_query_masks_its_positive_but_not_its_negative():
  passages = np.stack([keys(1, 4), keys(2, 5)])
  masked = cells(keys(7, 7), passages, passages[:, :1])
  assert masked == [[0, 0], [0, 2], [1, 0], [1, 2]]


def test_a_missing_negative_is_masked_for_all():
  passages = np.stack([keys(1, 0), keys(2, 5)])
  masked = cells(keys(7, 8), passages, passages[:, :1])
  assert masked == [[0, 0], [0, 1], [1, 1], [1, 2]]
