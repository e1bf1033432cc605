"""Losses that pull a query to its own passage and away from the others.

Pure functions of a score matrix, one loss per row.  No model, no temperature,
no device: the caller scales the scores and averages the losses.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


def softmax_loss(
  scores: Float[Array, "B N"],
  positives: Int[Array, "B"],
  excluded: Bool[Array, "B N"] | None = None,
  label_smoothing: float = 0.0,
) -> Float[Array, "B"]:
  """InfoNCE: -log softmax(scores)[positive], in nats, one per query.

  With label smoothing s the target is 1 - s on the positive and s shared
  equally by the other columns that count, as in T5X, whose constant (the
  entropy of the target) is not subtracted.

  Args:
    scores: query b against passage n, already divided by the temperature.
    positives: column of each query's positive.
    excluded: columns that are no negatives, such as copies of the positive;
      the positive itself always counts.
    label_smoothing: s, from 0 to below 1.

  Source: van den Oord et al., 2018, eq. 4 (https://arxiv.org/abs/1807.03748).
  """
  scores = scores.astype(jnp.float32)  # bfloat16 cannot order close negatives.
  own = jax.nn.one_hot(positives, scores.shape[1], dtype=bool)
  counted = own | ~excluded if excluded is not None else jnp.ones_like(own)
  log_sum = jax.nn.logsumexp(scores, axis=1, where=counted)
  own_score = jnp.sum(jnp.where(own, scores, 0.0), axis=1)
  loss = log_sum - own_score
  if label_smoothing:
    others = counted & ~own
    num_others = jnp.maximum(others.sum(axis=1), 1)
    other_score = jnp.where(others, scores, 0.0).sum(axis=1) / num_others
    # The part of the target that moves: from own score to the others' mean.
    moved = jnp.where(others.any(axis=1), own_score - other_score, 0.0)
    loss = loss + label_smoothing * moved
  return loss
