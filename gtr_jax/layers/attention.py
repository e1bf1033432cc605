"""Self-attention of T5: no scaling, no biases, an additive position bias."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from gtr_jax.layers import dense

# Added where attention must not look: finite, so that a row of padding alone
# gives no NaN, and far below any logit of a float32 softmax.
MASKED = -1e10


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
    logits = jnp.einsum("bhqf,bhkf->bhqk", query, key).astype(jnp.float32)
    same = segments[:, None, :, None] == segments[:, None, None, :]
    # Two terms, added where they are used: their sum, [B, H, L, L], would be
    # held for all layers, and so would its gradient.
    logits = logits + bias[None] + jnp.where(same, 0.0, MASKED)
    weights = nn.Dropout(self.dropout_rate, broadcast_dims=(-2,))(
      nn.softmax(logits, axis=-1).astype(self.dtype),
      deterministic=deterministic,
    )
    mixed = jnp.einsum("bhqk,bhkf->bhqf", weights, value).swapaxes(1, 2)
    joined = mixed.reshape(*x.shape[:2], self.num_heads * self.head_dim)
    return dense.Dense(
      x.shape[-1], ("joined_kv", "embed"), dtype=self.dtype, name="out"
    )(joined)

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
