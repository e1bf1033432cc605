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
    self,
    tokens: Int[Array, "B L"],
    segments: Int[Array, "B L"] | None = None,
    num_texts: int = 1,
    *,
    deterministic: bool = True,
  ) -> Float[Array, "B D"] | Float[Array, "B S D"]:
    """Float32 of unit length; a text without tokens gives zeros.

    Args:
      tokens: 0 is padding.
      segments: for packed rows, the number of the text in its row that each
        token belongs to, from 1; 0 is padding.  None: one text a row.
      num_texts: S, the most texts in a packed row.

    Returns:
      [B, D]; for packed rows [B, S, D].
    """
    packed = segments is not None
    if segments is None:
      segments = (tokens > 0).astype(jnp.int32)
    x = self.encoder(
      self.token_embedder(tokens), segments, deterministic=deterministic
    )
    member = segments[:, :, None] == jnp.arange(1, num_texts + 1)[None, None]
    pooled = self.pooling_fn(x, member)  # [B, S, E]
    embeddings = norm.unit_length(self.projection_layer(pooled))
    return embeddings if packed else embeddings[:, 0]


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
