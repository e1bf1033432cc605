"""Normalisation: T5's layer norm, and the unit length of an embedding."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from gtr_jax.layers import param


class RMSNorm(nn.Module):
  """Scales the last axis to unit root mean square; no centring, no bias.

  T5 calls it layer norm.  Statistics are float32 whatever the activations.

  Attributes:
    epsilon: added to the mean square, so that a zero row stays zero.
    dtype: dtype of the result.

  Source: Zhang & Sennrich, 2019, eq. 4 (https://arxiv.org/abs/1910.07467).
  """

  epsilon: float = 1e-6
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "B L E"]) -> Float[Array, "B L E"]:
    scale = param.logical_param(
      self, "scale", nn.initializers.ones, x.shape[-1:], ("embed",)
    )
    x = x.astype(jnp.float32)
    mean_square = jnp.mean(jnp.square(x), axis=-1, keepdims=True)  # [B, L, 1]
    x = x * jax.lax.rsqrt(mean_square + self.epsilon)
    return (x * scale[None, None, :]).astype(self.dtype)


def unit_length(
  x: Float[Array, "*B D"], epsilon: float = 1e-6
) -> Float[Array, "*B D"]:
  """x * rsqrt(sum(x^2) + epsilon), in float32; a zero row stays zero.

  Source: the L2 norm of T5X Retrieval, whose embeddings GTR released.
  """
  x = x.astype(jnp.float32)
  return x * jax.lax.rsqrt(
    jnp.sum(jnp.square(x), axis=-1, keepdims=True) + epsilon
  )
