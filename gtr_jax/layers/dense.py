"""A matrix product with a named kernel and no bias."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from gtr_jax.layers import param

FAN_IN_NORMAL = nn.initializers.variance_scaling(1.0, "fan_in", "normal")


class Dense(nn.Module):
  """x @ kernel; T5 has no biases.

  Attributes:
    features: width of the result.
    axes: logical names of the kernel's two dimensions.
    kernel_init: initializer of the kernel.
    dtype: dtype of the product and of the result.
    precision: of the product; None is the backend's default, which on TPU
      multiplies float32 in bfloat16.
  """

  features: int
  axes: tuple[str, str]
  kernel_init: Callable = FAN_IN_NORMAL
  dtype: DTypeLike = jnp.float32
  precision: jax.lax.Precision | None = None

  @nn.compact
  def __call__(self, x: Float[Array, "*B E"]) -> Float[Array, "*B F"]:
    kernel = param.logical_param(
      self,
      "kernel",
      self.kernel_init,
      (x.shape[-1], self.features),
      self.axes,
      self.dtype,
    )
    return jnp.matmul(x.astype(self.dtype), kernel, precision=self.precision)
