"""A tower: token ids to one vector of unit length."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int

from gtr_jax.layers import dense, embedding, norm, pooling
from gtr_jax.models import t5_encoder


class TextEncoder(nn.Module):
  """T5 encoder, pooling, projection to `projection_dim`, unit length.

  The encoder's dtype is the dtype of the activations; pooling, projection and
  norm are float32.

  Attributes:
    encoder: vectors of tokens to vectors of tokens.
    vocab_size: rows of the token table; T5's is 32,128.
    embed_dim: width of the encoder.
    projection_dim: width of the embedding, whatever the encoder's.
    pooling_fn: a function of `layers.pooling`, or its `Attention`.

  Source: Ni et al., 2021, §3.1 (https://arxiv.org/abs/2112.07899).
  """

  encoder: t5_encoder.T5Encoder
  vocab_size: int
  embed_dim: int
  projection_dim: int = 768
  pooling_fn: Callable = pooling.mean

  def setup(self):
    dtype = _activation_dtype(self.encoder.dtype)
    self.token_embedder = embedding.Embed(
      self.vocab_size, self.embed_dim, dtype=dtype
    )
    self.projection_layer = dense.Dense(
      self.projection_dim,
      ("embed", "affinity"),
      kernel_init=nn.initializers.variance_scaling(
        1.0, "fan_in", "truncated_normal"
      ),
      precision=jax.lax.Precision.HIGHEST,
    )

  def __call__(
    self, tokens: Int[Array, "B L"], *, deterministic: bool = True
  ) -> Float[Array, "B D"]:
    """Float32 [B, D] of unit length; a row of padding alone gives zeros."""
    mask = tokens > 0
    x = self.encoder(
      self.token_embedder(tokens), mask, deterministic=deterministic
    )
    return norm.unit_length(self.projection_layer(self.pooling_fn(x, mask)))


def _activation_dtype(dtype) -> jnp.dtype:
  dtype = jnp.dtype(dtype)
  if dtype == jnp.float16:
    raise ValueError(
      "activations in float16 were asked for, but T5's exceed 65,504 and turn"
      " into infinities; use bfloat16, which has the range, or float32"
    )
  if dtype not in (jnp.bfloat16, jnp.float32, jnp.float64):
    raise ValueError(
      f"activations in {dtype} were asked for; use bfloat16 or float32"
    )
  return dtype
