"""The encoder half of T5, 1.0 and 1.1, under T5X's parameter names."""

import re
from collections.abc import Callable, Mapping
from typing import Any, cast

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from gtr_jax.layers import attention, mlp, norm, relative_position
from gtr_jax.types import Params

# Name of the layers when they are stacked.
STACKED = "layers"

# What the backward pass finds saved and what it computes again, by name.
REMAT = ("none", "dots", "full")


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
    bias: Float[Array, "H L L"],
    segments: Int[Array, "B L"],
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
    )(hidden, bias, segments, deterministic=deterministic)
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
    activations: of the MLP: (mlp.relu,) is T5 1.0; (mlp.gelu_gate,
      mlp.linear_gate) is T5 1.1.
    relative_attention_num_buckets: buckets of relative positions.
    relative_attention_max_distance: distances from here on share a bucket.
    dropout_rate: T5X's places: embeddings, attention weights, MLP, residual
      branches, output.  GTR trains without.
    dtype: dtype of the activations.
    remat: what a layer's backward pass computes again: "none" of it, all but
      the products with kernels ("dots"), or the "full" layer.

  Source: Raffel et al., 2020, §2.1 (https://arxiv.org/abs/1910.10683); T5 1.1:
    Shazeer, 2020 (https://arxiv.org/abs/2002.05202).
  """

  num_layers: int
  num_heads: int
  head_dim: int
  mlp_dim: int
  activations: tuple[Callable, ...] = (mlp.relu,)
  relative_attention_num_buckets: int = 32
  relative_attention_max_distance: int = 128
  dropout_rate: float = 0.0
  dtype: DTypeLike = jnp.float32
  remat: str = "none"

  def __post_init__(self):
    for name in ("num_heads", "head_dim", "mlp_dim"):
      if getattr(self, name) < 1:
        raise ValueError(f"{name} is {getattr(self, name)}; it must be above 0")
    if not 0 <= self.dropout_rate < 1:
      raise ValueError(
        f"dropout_rate is {self.dropout_rate}; it must be at least 0 and less"
        " than 1"
      )
    if self.remat not in REMAT:
      raise ValueError(
        f"REMAT is {self.remat!r}; it must be one of {', '.join(REMAT)}"
      )
    super().__post_init__()

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "B L E"],
    segments: Int[Array, "B L"],
    *,
    deterministic: bool = True,
  ) -> Float[Array, "B L E"]:
    """Vectors in context; a token's context is its segment of the row.

    Segments are runs of columns, so that the difference of two columns is the
    distance of two tokens: the position bias is the same for every row.

    Args:
      segments: number of the text that a token belongs to, 0 for padding.
    """
    drop = nn.Dropout(
      self.dropout_rate, broadcast_dims=(-2,), deterministic=deterministic
    )
    bias = relative_position.RelativePositionBias(
      self.num_heads,
      self.relative_attention_num_buckets,
      self.relative_attention_max_distance,
      name="relpos_bias",
    )(x.shape[1])
    x = drop(x)
    if self.is_initializing():
      for number in range(self.num_layers):
        layer = EncoderLayer(*self._sizes(), name=f"layers_{number}")
        x = layer(x, bias, segments, deterministic=deterministic)
    else:
      x = self._through_layers(x, bias, segments, deterministic)
    x = norm.RMSNorm(dtype=self.dtype, name="encoder_norm")(x)
    return drop(x)

  def _sizes(self) -> tuple[Any, ...]:
    """The settings of a layer, in the order of its attributes."""
    return (
      self.num_heads,
      self.head_dim,
      self.mlp_dim,
      tuple(self.activations),
      self.dropout_rate,
      self.dtype,
    )

  def _through_layers(
    self,
    x: Float[Array, "B L E"],
    bias: Float[Array, "H L L"],
    segments: Int[Array, "B L"],
    deterministic: bool,
  ) -> Float[Array, "B L E"]:
    """Layer by layer: one loop over stacked parameters, or unrolled."""
    rng = None if deterministic else self.make_rng("dropout")
    layer = EncoderLayer(*self._sizes(), parent=None)

    def apply(carry, params):
      x, number = carry
      rngs = {} if rng is None else {"dropout": jax.random.fold_in(rng, number)}
      x = layer.apply(
        {"params": params},
        x,
        bias,
        segments,
        deterministic=deterministic,
        rngs=rngs,
      )
      return (cast(jax.Array, x), number + 1), None

    params = self.variables["params"]
    stacked = STACKED in params
    apply = _rematerialised(apply, self.remat, in_loop=stacked)
    carry = (x, jnp.int32(0))
    if stacked:
      return jax.lax.scan(apply, carry, params[STACKED])[0][0]
    for layer_number in range(self.num_layers):
      carry, _ = apply(carry, params[f"layers_{layer_number}"])
    return carry[0]


def stack_layers(params: Params) -> Params:
  """Parameters with each encoder's layers stacked: [layers, ...] per array.

  The encoder then loops over them, which compiles once whatever the number of
  layers.  Only for use within a step: a train state and a checkpoint keep a
  name for every layer.
  """
  if not isinstance(params, Mapping):
    return params
  numbered = [name for name in params if re.fullmatch(r"layers_\d+", name)]
  rest = {
    name: stack_layers(value)
    for name, value in params.items()
    if name not in numbered
  }
  if not numbered:
    return rest
  layers = [params[f"layers_{number}"] for number in range(len(numbered))]
  return {**rest, STACKED: jax.tree.map(lambda *x: jnp.stack(x), *layers)}


def _rematerialised(function: Callable, remat: str, in_loop: bool) -> Callable:
  if remat == "none":
    return function
  policy = (
    jax.checkpoint_policies.dots_with_no_batch_dims_saveable
    if remat == "dots"
    else None
  )
  # A loop already keeps the two passes apart.
  return jax.checkpoint(function, policy=policy, prevent_cse=not in_loop)
