"""Self-attention of T5: no scaling, no biases, an additive position bias."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from gtr_jax.layers import attention_core, dense


class SelfAttention(nn.Module):
  """Multi-head attention whose logits are not divided by sqrt(F).

  T5 folds that factor into the initial query kernel.  The heads are moved
  before the length, so that the two contractions are plain batched matrix
  products; the softmax is float32 whatever the activations.  A token looks at
  the tokens of its own segment only.

  Attributes:
    num_heads: heads.
    head_dim: features of one head; num_heads * head_dim need not be E.
    dropout_rate: of the attention weights, one mask for all query positions.
    dtype: dtype of the activations.

  Source: Raffel et al., 2020, §2.1 (https://arxiv.org/abs/1910.10683).
  """

  num_heads: int
  head_dim: int
  dropout_rate: float = 0.0
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "B L E"],
    bias: Float[Array, "H L L"],
    segments: Int[Array, "B L"],
    *,
    deterministic: bool = True,
  ) -> Float[Array, "B L E"]:
    query = self._heads(x, "query", 1.0 / self.head_dim)  # [B, H, L, F]
    key, value = self._heads(x, "key", 1.0), self._heads(x, "value", 1.0)
    if deterministic or not self.dropout_rate:
      mixed = attention_core.attend(query, key, value, bias, segments)
    else:
      mixed = self._with_dropout(query, key, value, bias, segments)
    mixed = mixed.swapaxes(1, 2)  # [B, L, H, F]
    joined = mixed.reshape(*x.shape[:2], self.num_heads * self.head_dim)
    return dense.Dense(
      x.shape[-1], ("joined_kv", "embed"), dtype=self.dtype, name="out"
    )(joined)

  def _with_dropout(
    self,
    query: Float[Array, "B H L F"],
    key: Float[Array, "B H L F"],
    value: Float[Array, "B H L F"],
    bias: Float[Array, "H L L"],
    segments: Int[Array, "B L"],
  ) -> Float[Array, "B H L F"]:
    """`attention_core.attend` of which some weights are left out."""
    logits = jnp.einsum("bhqf,bhkf->bhqk", query, key).astype(jnp.float32)
    hidden = attention_core.hidden(segments)[:, None]
    weights = nn.softmax(logits + bias[None] + hidden, axis=-1)
    weights = nn.Dropout(self.dropout_rate, broadcast_dims=(-2,))(
      weights.astype(self.dtype), deterministic=False
    )
    return jnp.einsum("bhqk,bhkf->bhqf", weights, value)

  def _heads(
    self, x: Float[Array, "B L E"], name: str, scale: float
  ) -> Float[Array, "B H L F"]:
    init = nn.initializers.variance_scaling(scale, "fan_in", "normal")
    joined = dense.Dense(
      self.num_heads * self.head_dim,
      ("embed", "joined_kv"),
      kernel_init=init,
      dtype=self.dtype,
      name=name,
    )(x)
    split = joined.reshape(*x.shape[:2], self.num_heads, self.head_dim)
    return jax.lax.transpose(split, (0, 2, 1, 3))
