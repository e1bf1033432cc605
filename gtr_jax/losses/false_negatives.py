"""Which cells of the score matrix are no negatives, over the global batch."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Int


def same(a: Int[Array, "X 2"], b: Int[Array, "Y 2"]) -> Bool[Array, "X Y"]:
  """True where both have the same id, or both the same text.

  A key is (hash of the id, hash of the text); 0 means none and equals nothing.
  """
  equal = (a[:, None, :] == b[None, :, :]) & (a[:, None, :] != 0)
  return equal.any(axis=2)


def excluded(
  query_keys: Int[Array, "B 2"],
  passage_keys: Int[Array, "B K 2"],
  positive_keys: Int[Array, "B P 2"],
) -> Bool[Array, "B N"]:
  """True where passage n must not be pushed away from query b.

  That is: a passage with the id or the text of any known positive of the
  query; the positive of a copy of the query; a place where a hard negative is
  missing (keys 0).  The query's own positive, column b * K, is among them: it
  is the loss that counts it back in.
  """
  num_queries, num_passages, _ = passage_keys.shape
  flat = passage_keys.reshape(-1, 2)  # [N, 2]
  mask = jnp.broadcast_to(
    (flat == 0).all(axis=1)[None], (num_queries, len(flat))
  )
  for p in range(positive_keys.shape[1]):  # P is small; [B, N, P] is not.
    mask = mask | same(positive_keys[:, p], flat)
  copies = same(query_keys, query_keys)  # [B, B]
  return (
    mask.reshape(num_queries, num_queries, num_passages)
    .at[:, :, 0]
    .set(mask[:, ::num_passages] | copies)
    .reshape(num_queries, -1)
  )
