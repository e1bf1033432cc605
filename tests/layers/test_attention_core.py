"""Attention whose weights are not kept, against its definition in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gtr_jax.layers import attention_core

ROWS, HEADS, LENGTH, FEATURES = 4, 2, 6, 3
SEGMENTS = np.array(
  [
    [1, 1, 1, 1, 1, 1],
    [1, 1, 1, 2, 2, 0],
    [1, 2, 3, 0, 0, 0],
    [0, 0, 0, 0, 0, 0],
  ],
  np.int32,
)


def inputs():
  rng = np.random.default_rng(0)
  shape = (ROWS, HEADS, LENGTH, FEATURES)
  query, key, value, grad = rng.normal(size=(4, *shape))
  return query, key, value, rng.normal(size=(HEADS, LENGTH, LENGTH)), grad


def definition(query, key, value, bias):
  """Each segment by itself, in float64."""
  result = np.zeros_like(query)
  for row, segments in enumerate(SEGMENTS):
    for number in np.unique(segments):
      where = np.flatnonzero(segments == number)
      for head in range(HEADS):
        logits = query[row, head, where] @ key[row, head, where].T
        weights = np.exp(logits + bias[head][np.ix_(where, where)])
        weights /= weights.sum(axis=1, keepdims=True)
        result[row, head, where] = weights @ value[row, head, where]
  return result


@pytest.fixture(params=["at once", "row by row", "two by two"])
def in_blocks(request, monkeypatch):
  """Few enough weights in a block that there are several."""
  weights = {"at once": 10_000, "row by row": 1, "two by two": 150}
  monkeypatch.setattr(attention_core, "_CACHED_WEIGHTS", weights[request.param])


def test_is_its_definition(in_blocks):
  *arrays, _ = inputs()
  actual = jax.jit(attention_core.attend)(
    *(x.astype(np.float32) for x in arrays), SEGMENTS
  )
  np.testing.assert_allclose(actual, definition(*arrays), atol=1e-6)


def test_gradients_are_differences(in_blocks):
  """Of the definition, entry by entry; the bias, too."""
  *arrays, grad = inputs()

  def loss(*arrays):
    return jnp.sum(attention_core.attend(*arrays, SEGMENTS) * grad)

  actual = jax.jit(jax.grad(loss, argnums=(0, 1, 2, 3)))(
    *(x.astype(np.float32) for x in arrays)
  )
  for number, gradient in enumerate(actual):
    expected = np.zeros_like(arrays[number])
    for place in np.ndindex(*expected.shape):
      for sign in (1, -1):
        moved = [x.copy() for x in arrays]
        moved[number][place] += sign * 1e-5
        expected[place] += sign * np.sum(definition(*moved) * grad) / 2e-5
    np.testing.assert_allclose(gradient, expected, atol=2e-6)


def test_platforms_agree():
  """What a TPU computes at once, a CPU computes in blocks."""
  query, key, value, bias, grad = (x.astype(np.float32) for x in inputs())
  rows = (query, key, value, SEGMENTS, bias)
  mixed, log_total = attention_core._forward_at_once(*rows)
  saved = (*rows, mixed, log_total, grad)
  in_blocks = attention_core._backward_in_blocks(*saved)
  at_once = attention_core._backward_at_once(*saved)
  for actual, expected in zip(in_blocks, at_once, strict=True):
    np.testing.assert_allclose(actual, expected, atol=1e-6)


def test_bfloat16_differs_by_rounding_only():
  *arrays, bias, _ = inputs()
  low = [jnp.asarray(x, jnp.bfloat16) for x in arrays]
  query, key, value = low
  actual = attention_core.attend(
    query, key, value, bias.astype(np.float32), SEGMENTS
  )
  assert actual.dtype == jnp.bfloat16
  exact = [np.asarray(x.astype(jnp.float32), np.float64) for x in low]
  expected = definition(exact[0], exact[1], exact[2], bias)
  np.testing.assert_allclose(
    actual.astype(jnp.float32), expected, rtol=0.02, atol=0.02
  )


@pytest.mark.parametrize(("platform", "loops"), [("cpu", True), ("tpu", False)])
def test_only_a_cpu_takes_few_rows_at_a_time(platform, loops, monkeypatch):
  monkeypatch.setattr(attention_core, "_CACHED_WEIGHTS", 1)
  jax.clear_caches()
  *arrays, _ = (x.astype(np.float32) for x in inputs())
  traced = jax.jit(attention_core.attend).trace(*arrays, SEGMENTS)
  lowered = traced.lower(lowering_platforms=(platform,)).as_text()
  assert ("stablehlo.while" in lowered) == loops


def test_large_logits_stay_finite():
  query = jnp.full((1, 1, 2, 1), 1e4, jnp.float32)
  bias, segments = jnp.zeros((1, 2, 2)), jnp.zeros((1, 2), jnp.int32)

  def total(query):
    return attention_core.attend(query, query, query, bias, segments).sum()

  value, gradient = jax.value_and_grad(total)(query)
  assert np.isfinite(value) and np.isfinite(gradient).all()
