"""From the vectors of the tokens to one vector of the text, in float32.

A pooling is a function (x [B, L, E], member [B, L, S]) → [B, S, E].  A row
holds S texts (one, where texts are not packed); `member` is True where a token
belongs to a text.  A text without a token gives zeros.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float, Int

from gtr_jax.layers import param


def mean(
  x: Float[Array, "B L E"], member: Bool[Array, "B L S"]
) -> Float[Array, "B S E"]:
  """Mean over the tokens, EOS included: GTR's pooling.

  Source: Ni et al., 2021, §3.1 (https://arxiv.org/abs/2112.07899).
  """
  weights = member.astype(jnp.float32)
  total = jnp.einsum(
    "ble,bls->bse",
    x.astype(jnp.float32),
    weights,
    precision=jax.lax.Precision.HIGHEST,
  )
  return total / jnp.maximum(weights.sum(axis=1), 1.0)[:, :, None]


def first(
  x: Float[Array, "B L E"], member: Bool[Array, "B L S"]
) -> Float[Array, "B S E"]:
  """The first token's vector, as [CLS] in BERT."""
  return _chosen(x, member, jnp.argmax(member, axis=1))


def last(
  x: Float[Array, "B L E"], member: Bool[Array, "B L S"]
) -> Float[Array, "B S E"]:
  """The last token's vector, EOS's, wherever the padding stands."""
  index = member.shape[1] - 1 - jnp.argmax(member[:, ::-1], axis=1)
  return _chosen(x, member, index)


def maximum(
  x: Float[Array, "B L E"], member: Bool[Array, "B L S"]
) -> Float[Array, "B S E"]:
  """The largest value of each feature over the tokens."""
  x = x.astype(jnp.float32)

  def of_one_text(mask: Bool[Array, "B L"]) -> Float[Array, "B E"]:
    largest = jnp.where(mask[:, :, None], x, -jnp.inf).max(axis=1)
    return jnp.where(mask.any(axis=1, keepdims=True), largest, 0.0)

  # One after the other: [B, L, S, E] would not fit.
  return jax.lax.map(of_one_text, member.transpose(2, 0, 1)).swapaxes(0, 1)


class Attention(nn.Module):
  """Mean weighted by a softmax of each token's product with a learned query.

  The query starts at zero, so that training starts from `mean`.
  """

  @nn.compact
  def __call__(
    self, x: Float[Array, "B L E"], member: Bool[Array, "B L S"]
  ) -> Float[Array, "B S E"]:
    query = param.logical_param(
      self, "query", nn.initializers.zeros, x.shape[-1:], ("embed",)
    )
    x = x.astype(jnp.float32)
    logits = jnp.einsum("ble,e->bl", x, query)[:, :, None]  # [B, L, 1]
    some = member.any(axis=1, keepdims=True)  # [B, 1, S]
    weights = nn.softmax(jnp.where(member, logits, -1e10), axis=1)
    return jnp.einsum("bls,ble->bse", jnp.where(some, weights, 0.0), x)


def _chosen(
  x: Float[Array, "B L E"],
  member: Bool[Array, "B L S"],
  index: Int[Array, "B S"],
) -> Float[Array, "B S E"]:
  """The vector at each text's index; zeros for a text without a token."""
  vectors = jnp.take_along_axis(x, index[:, :, None], axis=1)
  some = member.any(axis=1)[:, :, None]
  return jnp.where(some, vectors.astype(jnp.float32), 0.0)
