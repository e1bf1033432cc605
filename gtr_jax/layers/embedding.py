"""Token ids to vectors."""

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from gtr_jax.layers import param


class Embed(nn.Module):
  """Looks token ids up in a table, by gather.

  A one-hot product, as T5X does on TPU, multiplies by the whole vocabulary and
  is many times slower on GPU and CPU.

  Attributes:
    vocab_size: rows of the table.
    features: width of a vector.
    dtype: dtype of the result.
  """

  vocab_size: int
  features: int
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, tokens: Int[Array, "B L"]) -> Float[Array, "B L E"]:
    table = param.logical_param(
      self,
      "embedding",
      nn.initializers.normal(1.0),
      (self.vocab_size, self.features),
      ("vocab", "embed"),
      self.dtype,
    )
    return jnp.take(table, tokens, axis=0, mode="clip")
