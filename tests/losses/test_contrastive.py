"""softmax_loss: its definition, its known values, its gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gtr_jax.losses.contrastive import softmax_loss


def definition(scores, positives, excluded, smoothing=0.0):
  """The formula, one query at a time, in float64."""
  losses = []
  for b, positive in enumerate(positives):
    others = [
      n for n in range(scores.shape[1]) if n != positive and not excluded[b, n]
    ]
    row = scores[b].astype(np.float64)
    log_sum = np.log(np.exp(row[[positive, *others]]).sum())
    loss = 0.0
    for n in others:
      loss += smoothing / len(others) * (log_sum - row[n])
    own_share = 1 - smoothing if others else 1.0
    losses.append(loss + own_share * (log_sum - row[positive]))
  return losses


@pytest.mark.parametrize("share_excluded", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_is_its_definition(share_excluded, smoothing):
  rng = np.random.default_rng(0)
  scores, positives = rng.normal(size=(4, 12)), np.arange(0, 12, 3)
  excluded = rng.random((4, 12)) < share_excluded
  actual = softmax_loss(
    jnp.array(scores), jnp.array(positives), jnp.array(excluded), smoothing
  )
  expected = definition(scores, positives, excluded, smoothing)
  np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


def test_blind_model_pays_log_n():
  loss = softmax_loss(jnp.zeros((2, 8)), jnp.array([0, 4]))
  np.testing.assert_allclose(loss, np.log(8), rtol=1e-6)


def test_scores_of_a_cold_temperature_do_not_overflow():
  scores = jnp.array([[1e4, -1e4], [-1e4, 1e4]])
  loss = softmax_loss(scores, jnp.array([0, 0]))
  np.testing.assert_allclose(loss, [0.0, 2e4])


def test_gradient_is_zero_when_nothing_is_left_to_push_away():
  def total(scores):
    everything = jnp.ones((2, 2), bool)
    return softmax_loss(scores, jnp.array([0, 1]), everything, 0.1).sum()

  gradient = jax.grad(total)(jnp.array([[1.0, 2.0], [3.0, 4.0]]))
  np.testing.assert_array_equal(gradient, np.zeros((2, 2)))


def test_gradient_is_softmax_minus_target():
  scores = np.random.default_rng(1).normal(size=(3, 5))
  positives = np.array([4, 0, 2])
  gradient = jax.grad(lambda s: softmax_loss(s, jnp.array(positives)).sum())(
    jnp.array(scores)
  )
  exp = np.exp(scores)
  expected = exp / exp.sum(axis=1, keepdims=True) - np.eye(5)[positives]
  np.testing.assert_allclose(gradient, expected, atol=1e-6)
