"""Ranks of positives: known orders, ties, what is excluded."""

import jax.numpy as jnp
import numpy as np
import pytest

from gtr_jax.losses import ranking_metrics

COSINES = jnp.array([[0.5, 0.9, 0.1, 0.4], [0.3, 0.2, 0.1, 0.3]])
NOTHING = jnp.zeros((2, 4), bool)


def ranks(cosines, positives, excluded=NOTHING):
  return ranking_metrics.positive_ranks(
    cosines, jnp.array(positives), excluded
  ).tolist()


def test_counts_the_passages_ahead():
  assert ranks(COSINES, [0, 1]) == [2, 3]


def test_a_tie_is_lost():
  assert ranks(COSINES, [1, 3]) == [1, 2]


@pytest.mark.parametrize("apart", [0.5e-6, -0.5e-6])
def test_rounding_is_a_tie(apart):
  cosines = COSINES.at[1, 3].add(apart)
  assert ranks(cosines, [1, 3]) == [1, 2]


def test_what_is_excluded_is_not_ahead():
  excluded = NOTHING.at[0, 1].set(True).at[1, 1].set(True)
  assert ranks(COSINES, [0, 1], excluded) == [1, 3]


def test_a_model_blind_to_the_texts_ranks_every_positive_last():
  vector = np.random.default_rng(0).normal(size=768).astype(np.float32)
  vector /= np.linalg.norm(vector)
  cosines = jnp.array(np.tile(vector, (2, 1))) @ jnp.array(vector)[:, None]
  cosines = cosines + jnp.array([[0.0, 1e-7, -1e-7, 2e-7]])  # Other sums.
  assert ranks(cosines, [0, 3]) == [4, 4]
