"""Encoding rows in pieces to save memory, with the gradient of the whole."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def encode_in_chunks(
  encode: Callable, rows: Any, num_chunks: int
) -> Float[Array, "B ..."]:
  """Encodes a chunk at a time and recomputes it on the way back (GradCache).

  Activation memory falls by `num_chunks`; the embeddings, hence the negatives
  of the loss, stay those of the whole batch.

  Each device cuts its own rows, inside a `jax.shard_map`.  Outside of one,
  chunks of consecutive rows would each sit on a few devices and be gathered to
  all.

  Args:
    encode: (rows of a chunk, index of the chunk) → float32 [b, ...].
    rows: arrays [B, ...].
    num_chunks: where it does not divide B, the last chunk is filled up with
      zeros; no more than B are made.

  Source: Gao et al., 2021 (https://arxiv.org/abs/2101.06983).
  """
  num_rows = len(jax.tree.leaves(rows)[0])
  num_chunks = min(num_chunks, num_rows)
  if num_chunks == 1:
    return encode(rows, 0)
  size = -(-num_rows // num_chunks)
  num_chunks = -(-num_rows // size)

  def cut(x):
    missing = [(0, num_chunks * size - num_rows)] + [(0, 0)] * (x.ndim - 1)
    return jnp.pad(x, missing).reshape(num_chunks, size, *x.shape[1:])

  def encode_one(chunk):
    return encode(chunk[1], chunk[0])

  embeddings = jax.lax.map(
    # The loop already keeps the two passes apart.
    jax.checkpoint(encode_one, prevent_cse=False),
    (jnp.arange(num_chunks), jax.tree.map(cut, rows)),
  )
  return embeddings.reshape(-1, *embeddings.shape[2:])[:num_rows]
