"""Poolings against their definitions, row by row."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gtr_jax.layers import norm, pooling

X = np.random.default_rng(0).normal(size=(4, 5, 3)).astype(np.float32)
# Two texts a row: one after the other, mixed, one of them empty, none at all.
SEGMENTS = np.array(
  [[1, 1, 2, 2, 0], [2, 1, 2, 1, 2], [0, 1, 0, 1, 0], [0, 0, 0, 0, 0]]
)
MEMBER = SEGMENTS[:, :, None] == np.array([1, 2])


def per_text(function):
  """[4, 2, 3], each text by itself."""
  return [
    [function(x[mask]) if mask.any() else np.zeros(3) for mask in masks.T]
    for x, masks in zip(X, MEMBER, strict=True)
  ]


@pytest.mark.parametrize(
  ("pool", "definition"),
  [
    (pooling.mean, lambda x: x.mean(axis=0)),
    (pooling.first, lambda x: x[0]),
    (pooling.last, lambda x: x[-1]),
    (pooling.maximum, lambda x: x.max(axis=0)),
  ],
)
def test_is_its_definition(pool, definition):
  actual = pool(jnp.array(X), jnp.array(MEMBER))
  np.testing.assert_allclose(actual, per_text(definition), atol=1e-6)


def test_attention_starts_as_the_mean_and_weighs_by_softmax():
  module = pooling.Attention()
  x, member = jnp.array(X), jnp.array(MEMBER)
  params = module.init(jax.random.key(0), x, member)
  actual = np.asarray(module.apply(params, x, member))
  np.testing.assert_allclose(actual, pooling.mean(x, member), atol=1e-6)
  query = np.array([1.0, -2.0, 0.5])

  def weighted(rows):
    weights = np.exp(rows @ query)
    return weights @ rows / weights.sum()

  params = {"params": {"query": jnp.array(query)}}
  actual = np.asarray(module.apply(params, x, member))
  np.testing.assert_allclose(actual, per_text(weighted), atol=1e-5)


@pytest.mark.parametrize(
  "pool", [pooling.mean, pooling.first, pooling.last, pooling.maximum]
)
def test_bfloat16_is_pooled_in_float32(pool):
  x = jnp.ones((1, 300, 1), jnp.bfloat16)
  pooled = pool(x, jnp.ones((1, 300, 1), bool))
  assert pooled.dtype == jnp.float32
  np.testing.assert_array_equal(pooled, [[[1.0]]])


def test_unit_length_is_t5x_retrievals_norm():
  x = np.array([[3.0, 4.0], [0.0, 0.0], [1e-4, 0.0]])
  expected = x / np.sqrt((x**2).sum(axis=1, keepdims=True) + 1e-6)
  np.testing.assert_allclose(
    norm.unit_length(jnp.array(x)), expected, rtol=1e-6
  )
