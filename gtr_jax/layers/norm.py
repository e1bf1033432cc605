"""Normalisation: T5's layer norm, and the unit length of an embedding."""

import functools

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
    scaled = _normalised(x.astype(jnp.float32), scale, self.epsilon)
    return jnp.asarray(scaled, self.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _normalised(
  x: Float[Array, "B L E"], scale: Float[Array, "E"], epsilon: float
) -> Float[Array, "B L E"]:
  """x / rms(x) * scale; keeps x, which is there anyway, and B * L numbers.

  Differentiated as it stands, the CPU compiler keeps four arrays of its size.
  """
  return _forward(x, scale, epsilon)[0]


def _forward(x, scale, epsilon):
  mean_square = jnp.mean(jnp.square(x), axis=-1, keepdims=True)  # [B, L, 1]
  inverse = jax.lax.rsqrt(mean_square + epsilon)
  return x * inverse * scale[None, None, :], (x, inverse, scale)


def _backward(epsilon, saved, grad):
  del epsilon
  x, inverse, scale = saved
  unit = x * inverse
  of_unit = grad * scale[None, None, :]
  along = jnp.mean(of_unit * unit, axis=-1, keepdims=True)
  return inverse * (of_unit - unit * along), jnp.sum(grad * unit, axis=(0, 1))


_normalised.defvjp(_forward, _backward)


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
