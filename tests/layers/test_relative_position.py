"""T5's buckets: known values, and the bias of a sentence."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gtr_jax.layers import relative_position


def bucket(distance, num_buckets, max_distance):
  """T5's rule with integers: no logarithm, no rounding.

  A distance lies beyond the boundary of the large bucket i if
  (distance / exact) ^ steps >= (max_distance / exact) ^ i.
  """
  exact = num_buckets // 2
  if distance < exact:
    return distance
  steps, large = num_buckets - exact, 0
  while large + 1 < steps and (
    distance**steps * exact ** (large + 1)
    >= max_distance ** (large + 1) * exact**steps
  ):
    large += 1
  return exact + large


@pytest.mark.parametrize(
  ("num_buckets", "max_distance"), [(16, 128), (2, 8), (16, 64), (8, 100)]
)
def test_buckets_follow_the_rule_in_integers(num_buckets, max_distance):
  table = relative_position.distance_buckets(num_buckets, max_distance)
  expected = [
    bucket(distance, num_buckets, max_distance)
    for distance in range(max_distance + 1)
  ]
  np.testing.assert_array_equal(table, expected)


def test_known_buckets_of_t5():
  table = relative_position.distance_buckets(16, 128)
  assert table[[0, 7, 8, 11, 12, 16, 32, 64, 91, 128]].tolist() == [
    0, 7, 8, 8, 9, 10, 12, 14, 15, 15,
  ]  # fmt: skip


def test_bias_looks_the_bucket_up():
  module = relative_position.RelativePositionBias(2, 8, 16)
  table = np.random.default_rng(0).normal(size=(2, 8)).astype(np.float32)
  params = {"params": {"rel_embedding": jnp.array(table)}}
  bias = np.asarray(module.apply(params, 20))
  for query in range(20):
    for key in range(20):
      index = bucket(abs(key - query), 4, 16) + 4 * (key > query)
      np.testing.assert_array_equal(bias[:, query, key], table[:, index])


def test_starts_with_one_number_a_head_and_bucket():
  module = relative_position.RelativePositionBias(3)
  params = jax.eval_shape(lambda: module.init(jax.random.key(0), 4))
  assert params["params"]["rel_embedding"].value.shape == (3, 32)
