"""The gin config of a model whose sizes were read from its arrays."""

import pathlib
import tempfile
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from gtr_jax.checkpoints import names
from gtr_jax.checkpoints import sizes as sizes_lib
from gtr_jax.models import dual_encoder
from gtr_jax.run import gin_config

_GTR_PROJECTION_DIM = 768


def text(
  sizes: sizes_lib.Sizes, max_distance: int, activation_dtype: str = "float32"
) -> str:
  """The model's part of a gin config, in the words of models/gtr_base.gin.

  Raises:
    ValueError: a greatest distance within the exact buckets.
  """
  if max_distance <= sizes.num_buckets // 4:
    raise ValueError(
      f"--relative_attention_max_distance {max_distance} is not above"
      f" {sizes.num_buckets // 4}, where the buckets of"
      f" {sizes.num_buckets} begin to widen"
    )
  activations = (
    "(@mlp.gelu_gate, @mlp.linear_gate)" if sizes.gated else "(@mlp.relu,)"
  )
  return f"""\
# Made by `gtr import`: the sizes are those of the arrays.
from __gin__ import dynamic_registration

from gtr_jax.layers import mlp
from gtr_jax.layers import pooling
from gtr_jax.models import dual_encoder
from gtr_jax.models import t5_encoder
from gtr_jax.models import text_encoder

NUM_LAYERS = {sizes.num_layers}
EMBED_DIM = {sizes.embed_dim}
NUM_HEADS = {sizes.num_heads}
HEAD_DIM = {sizes.head_dim}
MLP_DIM = {sizes.mlp_dim}
NUM_EMBEDDINGS = {sizes.vocab_size}
PROJECTION_DIM = {sizes.projection_dim or _GTR_PROJECTION_DIM}
MLP_ACTIVATIONS = {activations}
ACTIVATION_DTYPE = "{activation_dtype}"
DROPOUT_RATE = 0.0
POOLING = @pooling.mean

MODEL = @dual_encoder.DualEncoder()
dual_encoder.DualEncoder.query_encoder = @text_encoder.TextEncoder()

text_encoder.TextEncoder:
  encoder = @t5_encoder.T5Encoder()
  vocab_size = %NUM_EMBEDDINGS
  embed_dim = %EMBED_DIM
  projection_dim = %PROJECTION_DIM
  pooling_fn = %POOLING

t5_encoder.T5Encoder:
  num_layers = %NUM_LAYERS
  num_heads = %NUM_HEADS
  head_dim = %HEAD_DIM
  mlp_dim = %MLP_DIM
  activations = %MLP_ACTIVATIONS
  relative_attention_num_buckets = {sizes.num_buckets}
  relative_attention_max_distance = {max_distance}
  dropout_rate = %DROPOUT_RATE
  dtype = %ACTIVATION_DTYPE
"""


def shapes(model: dual_encoder.DualEncoder) -> dict[str, Any]:
  """Shape and dtype of each of a model's arrays, by flat name."""
  tokens = jax.ShapeDtypeStruct((1, 1), jnp.int32)
  variables = jax.eval_shape(model.init, jax.random.key(0), tokens, tokens)
  return names.flatten(nn.unbox(variables["params"]))


def model(config: str) -> dual_encoder.DualEncoder:
  """The model of a config's text."""
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / "config.gin"
    path.write_text(config)
    return gin_config.macro_of_file(path, "MODEL")
