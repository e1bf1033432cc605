"""The encoder half of T5, 1.0 and 1.1, under T5X's parameter names."""

from collections.abc import Callable

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from gtr_jax.layers import attention, mlp, norm, relative_position

# Added where attention must not look: finite, so that a row of padding alone
# gives no NaN, and far below any logit of a float32 softmax.
MASKED = -1e10


class EncoderLayer(nn.Module):
  """x + attention(norm(x)), then x + mlp(norm(x)).

  Attributes: see `T5Encoder`.
  """

  num_heads: int
  head_dim: int
  mlp_dim: int
  activations: tuple[Callable, ...]
  dropout_rate: float
  dtype: DTypeLike

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "B L E"],
    bias: Float[Array, "B H L L"],
    *,
    deterministic: bool,
  ) -> Float[Array, "B L E"]:
    drop = nn.Dropout(
      self.dropout_rate, broadcast_dims=(-2,), deterministic=deterministic
    )
    hidden = norm.RMSNorm(dtype=self.dtype, name="pre_attention_layer_norm")(x)
    hidden = attention.SelfAttention(
      self.num_heads,
      self.head_dim,
      dropout_rate=self.dropout_rate,
      dtype=self.dtype,
      name="attention",
    )(hidden, bias, deterministic=deterministic)
    x = x + drop(hidden)
    hidden = norm.RMSNorm(dtype=self.dtype, name="pre_mlp_layer_norm")(x)
    hidden = mlp.MLP(
      self.mlp_dim,
      self.activations,
      dropout_rate=self.dropout_rate,
      dtype=self.dtype,
      name="mlp",
    )(hidden, deterministic=deterministic)
    return x + drop(hidden)


class T5Encoder(nn.Module):
  """Vectors of tokens to vectors of tokens in context.

  Attributes:
    num_layers: layers.
    num_heads: attention heads.
    head_dim: features of one head.
    mlp_dim: width of the MLP.
    activations: of the MLP: (nn.relu,) is T5 1.0; (mlp.gelu_gate,
      mlp.linear_gate) is T5 1.1.
    relative_attention_num_buckets: buckets of relative positions.
    relative_attention_max_distance: distances from here on share a bucket.
    dropout_rate: T5X's places: embeddings, attention weights, MLP, residual
      branches, output.  GTR trains without.
    dtype: dtype of the activations.

  Source: Raffel et al., 2020, §2.1 (https://arxiv.org/abs/1910.10683); T5 1.1:
    Shazeer, 2020 (https://arxiv.org/abs/2002.05202).
  """

  num_layers: int
  num_heads: int
  head_dim: int
  mlp_dim: int
  activations: tuple[Callable, ...] = (nn.relu,)
  relative_attention_num_buckets: int = 32
  relative_attention_max_distance: int = 128
  dropout_rate: float = 0.0
  dtype: DTypeLike = jnp.float32

  def __post_init__(self):
    for name in ("num_heads", "head_dim", "mlp_dim"):
      if getattr(self, name) < 1:
        raise ValueError(f"{name} is {getattr(self, name)}; it must be above 0")
    if not 0 <= self.dropout_rate < 1:
      raise ValueError(
        f"dropout_rate is {self.dropout_rate}; it must be at least 0 and less"
        " than 1"
      )
    super().__post_init__()

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "B L E"],
    mask: Bool[Array, "B L"],
    *,
    deterministic: bool = True,
  ) -> Float[Array, "B L E"]:
    drop = nn.Dropout(
      self.dropout_rate, broadcast_dims=(-2,), deterministic=deterministic
    )
    position_bias = relative_position.RelativePositionBias(
      self.num_heads,
      self.relative_attention_num_buckets,
      self.relative_attention_max_distance,
      name="relpos_bias",
    )(x.shape[1])
    masked = jnp.where(mask, 0.0, MASKED)[:, None, None, :]  # [B, 1, 1, L]
    bias = position_bias[None] + masked  # [B, H, L, L]
    x = drop(x)
    for layer in range(self.num_layers):
      x = EncoderLayer(
        self.num_heads,
        self.head_dim,
        self.mlp_dim,
        tuple(self.activations),
        self.dropout_rate,
        self.dtype,
        name=f"layers_{layer}",
      )(x, bias, deterministic=deterministic)
    x = norm.RMSNorm(dtype=self.dtype, name="encoder_norm")(x)
    return drop(x)
