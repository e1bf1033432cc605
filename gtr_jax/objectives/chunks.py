"""Encoding a batch in pieces to save memory, with the gradient of the whole."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def encode_in_chunks(
  encode: Callable, tokens: Int[Array, "B L"], num_chunks: int
) -> Float[Array, "B D"]:
  """Encodes a chunk at a time and recomputes it on the way back (GradCache).

  Activation memory falls by `num_chunks`; the embeddings, hence the negatives
  of the loss, stay those of the whole batch.

  Chunk c takes rows c, c + num_chunks, ...  The batch is laid out in blocks
  over the devices: a strided chunk touches every device, a blocked one would
  sit on a few and be gathered to all.

  Args:
    encode: (tokens [b, L], index of the chunk) → float32 [b, D].
    tokens: the batch.
    num_chunks: a divisor of B.

  Raises:
    ValueError: if `num_chunks` does not divide B.

  Source: Gao et al., 2021 (https://arxiv.org/abs/2101.06983).
  """
  if num_chunks == 1:
    return encode(tokens, 0)
  num_texts, length = tokens.shape
  if num_texts % num_chunks:
    raise ValueError(
      f"NUM_CHUNKS is {num_chunks}, which does not divide the {num_texts} texts"
      " of a batch; choose a divisor"
    )
  strided = tokens.reshape(-1, num_chunks, length).swapaxes(0, 1)
  encode_one = jax.checkpoint(lambda chunk: encode(chunk[1], chunk[0]))
  embeddings = jax.lax.map(encode_one, (jnp.arange(num_chunks), strided))
  return embeddings.swapaxes(0, 1).reshape(num_texts, -1)
