"""How well the scores of a batch order it: accuracy and MRR."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


def positive_ranks(
  scores: Float[Array, "B N"],
  positives: Int[Array, "B"],
  excluded: Bool[Array, "B N"],
) -> Int[Array, "B"]:
  """Rank of each query's positive among the columns that count, from 1.

  A tie counts against the positive: a model that gives one score to all
  texts ranks every positive last, not first.
  """
  own = jax.nn.one_hot(positives, scores.shape[1], dtype=bool)
  own_score = jnp.sum(jnp.where(own, scores, 0.0), axis=1, keepdims=True)
  ahead = (scores >= own_score) & ~own & ~excluded
  return 1 + ahead.sum(axis=1)
