"""The position-wise network of a T5 layer."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from gtr_jax.layers import dense


class MLP(nn.Module):
  """Wide, activated, narrow again; T5 1.1 multiplies two wide halves.

  Attributes:
    hidden_dim: width in between.
    activations: one function (T5 1.0: ReLU, kernel `wi`), or several whose
      results are multiplied (T5 1.1: tanh-approximated GELU and the identity,
      kernels `wi_0`, `wi_1`).
    dropout_rate: of the hidden values, one mask for all positions.
    dtype: dtype of the activations.

  Source: Shazeer, 2020 (https://arxiv.org/abs/2002.05202), eq. 6.
  """

  hidden_dim: int
  activations: tuple[Callable, ...] = (nn.relu,)
  dropout_rate: float = 0.0
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self, x: Float[Array, "B L E"], *, deterministic: bool = True
  ) -> Float[Array, "B L E"]:
    names = (
      ["wi"]
      if len(self.activations) == 1
      else [f"wi_{i}" for i in range(len(self.activations))]
    )
    hidden = jnp.ones((), self.dtype)
    for name, activation in zip(names, self.activations, strict=True):
      wide = dense.Dense(
        self.hidden_dim, ("embed", "mlp"), dtype=self.dtype, name=name
      )(x)
      hidden = hidden * activation(wide)
    hidden = nn.Dropout(self.dropout_rate, broadcast_dims=(-2,))(
      hidden, deterministic=deterministic
    )
    return dense.Dense(
      x.shape[-1], ("mlp", "embed"), dtype=self.dtype, name="wo"
    )(hidden)


def relu(x: jax.Array) -> jax.Array:
  """T5 1.0's activation, under a name that a config can give."""
  return nn.relu(x)


def gelu_gate(x: jax.Array) -> jax.Array:
  """GELU by tanh, as T5 1.1 was trained with."""
  return nn.gelu(x, approximate=True)


def linear_gate(x: jax.Array) -> jax.Array:
  """The ungated half of T5 1.1's hidden layer."""
  return x
