"""How well the scores of a batch order it: accuracy and MRR."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

# Cosines this near are a tie: sums in another order differ by as much.
TIE = 1e-6


def positive_ranks(
  cosines: Float[Array, "B N"],
  positives: Int[Array, "B"],
  excluded: Bool[Array, "B N"],
) -> Int[Array, "B"]:
  """Rank of each query's positive among the columns that count, from 1.

  A tie counts against the positive: a model that gives one embedding to all
  texts ranks every positive last, not first.
  """
  own = jax.nn.one_hot(positives, cosines.shape[1], dtype=bool)
  own_cosine = jnp.sum(jnp.where(own, cosines, 0.0), axis=1, keepdims=True)
  ahead = (cosines >= own_cosine - TIE) & ~own & ~excluded
  return 1 + ahead.sum(axis=1)
