"""From the vectors of the tokens to one vector of the text, in float32.

A pooling is a function (x [B, L, E], mask [B, L]) → [B, E]; `mask` is True
where a token is no padding.  A row without a token gives zeros.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float

from gtr_jax.layers import param


def mean(
  x: Float[Array, "B L E"], mask: Bool[Array, "B L"]
) -> Float[Array, "B E"]:
  """Mean over the tokens, EOS included: GTR's pooling.

  Source: Ni et al., 2021, §3.1 (https://arxiv.org/abs/2112.07899).
  """
  weights = mask.astype(jnp.float32)
  total = jnp.einsum(
    "ble,bl->be",
    x.astype(jnp.float32),
    weights,
    precision=jax.lax.Precision.HIGHEST,
  )
  return total / jnp.maximum(weights.sum(axis=1, keepdims=True), 1.0)


def first(
  x: Float[Array, "B L E"], mask: Bool[Array, "B L"]
) -> Float[Array, "B E"]:
  """The first token's vector, as [CLS] in BERT."""
  return jnp.where(mask[:, :1], x[:, 0].astype(jnp.float32), 0.0)


def last(
  x: Float[Array, "B L E"], mask: Bool[Array, "B L"]
) -> Float[Array, "B E"]:
  """The last token's vector, EOS's, wherever the padding stands."""
  length = mask.shape[1]
  index = length - 1 - jnp.argmax(mask[:, ::-1], axis=1)  # [B]
  chosen = jnp.take_along_axis(x, index[:, None, None], axis=1)[:, 0]
  some = mask.any(axis=1, keepdims=True)
  return jnp.where(some, chosen.astype(jnp.float32), 0.0)


def maximum(
  x: Float[Array, "B L E"], mask: Bool[Array, "B L"]
) -> Float[Array, "B E"]:
  """The largest value of each feature over the tokens."""
  x = jnp.where(mask[:, :, None], x.astype(jnp.float32), -jnp.inf)
  some = mask.any(axis=1, keepdims=True)
  return jnp.where(some, x.max(axis=1), 0.0)


class Attention(nn.Module):
  """Mean weighted by a softmax of each token's product with a learned query.

  The query starts at zero, so that training starts from `mean`.
  """

  @nn.compact
  def __call__(
    self, x: Float[Array, "B L E"], mask: Bool[Array, "B L"]
  ) -> Float[Array, "B E"]:
    query = param.logical_param(
      self, "query", nn.initializers.zeros, x.shape[-1:], ("embed",)
    )
    x = x.astype(jnp.float32)
    logits = jnp.where(mask, jnp.einsum("ble,e->bl", x, query), -1e10)
    some = mask.any(axis=1, keepdims=True)
    weights = jnp.where(some, nn.softmax(logits, axis=1), 0.0)
    return jnp.einsum("bl,ble->be", weights, x)
