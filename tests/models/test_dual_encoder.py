"""The model is T5: a float64 definition, names, axes, sizes, invariances."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from gtr_jax import partitioning
from gtr_jax.checkpoints import names
from gtr_jax.layers import mlp
from gtr_jax.models import dual_encoder, t5_encoder, text_encoder

GATED = (mlp.gelu_gate, mlp.linear_gate)


def make(
  num_layers=2, separate=False, dtype="float32", activations=(mlp.relu,)
):
  def tower():
    encoder = t5_encoder.T5Encoder(
      num_layers=num_layers,
      num_heads=2,
      head_dim=4,
      mlp_dim=12,
      activations=activations,
      dtype=dtype,
    )
    return text_encoder.TextEncoder(
      encoder, vocab_size=50, embed_dim=6, projection_dim=10
    )

  return dual_encoder.DualEncoder(tower(), tower() if separate else None)


def init(model):
  tokens = jnp.ones((1, 4), jnp.int32)
  return jax.jit(model.init)(jax.random.key(0), tokens, tokens)["params"]


def tokens(seed=0):
  rng = np.random.default_rng(seed)
  ids = rng.integers(1, 50, (5, 9))
  for row, length in enumerate((9, 1, 4, 7, 2)):
    ids[row, length:] = 0
  return jnp.array(ids)


def bucket(ahead):
  """T5's 32 buckets up to 128, for distances below 12."""
  distance = abs(ahead)
  return (distance if distance < 8 else 8) + 16 * (ahead > 0)


def definition(params, ids):
  """One text in float64, straight from the T5 paper; no padding at all."""
  flat = {
    name: np.asarray(value, np.float64)
    for name, value in names.flatten(nn.unbox(params)).items()
  }

  def norm(x, name):
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * flat[name]

  def softmax(x):
    x = np.exp(x - x.max(-1, keepdims=True))
    return x / x.sum(-1, keepdims=True)

  def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))

  length = len(ids)
  table = flat["encoder/relpos_bias/rel_embedding"]
  bias = np.array(
    [
      [[row[bucket(k - q)] for k in range(length)] for q in range(length)]
      for row in table
    ]
  )
  x = flat["token_embedder/embedding"][ids]
  for layer in range(2):
    at = f"encoder/layers_{layer}"
    h = norm(x, f"{at}/pre_attention_layer_norm/scale")
    q, k, v = (
      (h @ flat[f"{at}/attention/{name}/kernel"]).reshape(length, 2, 4)
      for name in ("query", "key", "value")
    )
    weights = softmax(np.einsum("qhf,khf->hqk", q, k) + bias)
    mixed = np.einsum("hqk,khf->qhf", weights, v).reshape(length, 8)
    x = x + mixed @ flat[f"{at}/attention/out/kernel"]
    h = norm(x, f"{at}/pre_mlp_layer_norm/scale")
    if f"{at}/mlp/wi/kernel" in flat:
      h = np.maximum(h @ flat[f"{at}/mlp/wi/kernel"], 0)
    else:
      h = gelu(h @ flat[f"{at}/mlp/wi_0/kernel"]) * (
        h @ flat[f"{at}/mlp/wi_1/kernel"]
      )
    x = x + h @ flat[f"{at}/mlp/wo/kernel"]
  pooled = norm(x, "encoder/encoder_norm/scale").mean(axis=0)
  projected = pooled @ flat["projection_layer/kernel"]
  return projected / np.sqrt((projected**2).sum() + 1e-6)


@pytest.mark.parametrize(
  "activations", [(mlp.relu,), GATED], ids=["1.0", "1.1"]
)
def test_is_t5_in_float64(activations):
  model = make(activations=activations)
  params, ids = init(model), tokens()
  actual = dual_encoder.encode(model, params, ids, "query")
  expected = [definition(params, row[row > 0]) for row in np.asarray(ids)]
  np.testing.assert_allclose(actual, expected, atol=2e-6)


def test_padding_changes_nothing_and_an_empty_text_is_zero():
  model = make()
  params, ids = init(model), tokens()
  encode = lambda x: dual_encoder.encode(model, params, x, "passage")
  wider = jnp.pad(ids, ((0, 1), (0, 6)))
  np.testing.assert_allclose(encode(wider)[:-1], encode(ids), atol=1e-6)
  np.testing.assert_array_equal(encode(wider)[-1], np.zeros(10))


def test_bfloat16_activations_leave_float32_parameters_and_embeddings():
  model = make(dtype="bfloat16")
  params, ids = init(model), tokens()
  assert {x.dtype for x in jax.tree.leaves(params)} == {jnp.dtype("float32")}
  low = dual_encoder.encode(model, params, ids, "query")
  assert low.dtype == jnp.float32
  np.testing.assert_allclose(np.linalg.norm(low, axis=1), 1.0, atol=1e-5)
  high = dual_encoder.encode(make(), params, ids, "query")
  cosine = np.einsum("bd,bd->b", low, high)
  assert (cosine > 0.99).all() and not np.array_equal(low, high)


@pytest.mark.parametrize(
  ("dtype", "reason"), [("float16", "65,504"), ("int8", "bfloat16 or float32")]
)
def test_other_activations_are_refused_with_the_reason(dtype, reason):
  with pytest.raises(ValueError, match=reason):
    init(make(dtype=dtype))


def names_and_axes(params):
  return {name: box.names for name, box in names.flatten(params).items()}


def test_names_and_axes_are_t5xs():
  layer = {
    "attention/key/kernel": ("embed", "joined_kv"),
    "attention/out/kernel": ("joined_kv", "embed"),
    "attention/query/kernel": ("embed", "joined_kv"),
    "attention/value/kernel": ("embed", "joined_kv"),
    "mlp/wi/kernel": ("embed", "mlp"),
    "mlp/wo/kernel": ("mlp", "embed"),
    "pre_attention_layer_norm/scale": ("embed",),
    "pre_mlp_layer_norm/scale": ("embed",),
  }
  expected = {
    "encoder/encoder_norm/scale": ("embed",),
    "encoder/relpos_bias/rel_embedding": ("heads", "relpos_buckets"),
    "projection_layer/kernel": ("embed", "affinity"),
    "token_embedder/embedding": ("vocab", "embed"),
    **{f"encoder/layers_0/{name}": axes for name, axes in layer.items()},
  }
  assert names_and_axes(init(make(num_layers=1))) == expected
  gated = names_and_axes(init(make(num_layers=1, activations=GATED)))
  for name in ("wi_0", "wi_1"):
    assert gated[f"encoder/layers_0/mlp/{name}/kernel"] == ("embed", "mlp")


def test_separate_towers_have_parameters_of_their_own():
  params = init(make(num_layers=1, separate=True))
  one = set(names_and_axes(init(make(num_layers=1))))
  assert set(names_and_axes(params)) == {
    f"{tower}/{name}"
    for tower in ("query_encoder", "passage_encoder")
    for name in one
  }
  query, passage = make(num_layers=1, separate=True).apply(
    {"params": params}, tokens(), tokens()
  )
  assert np.abs(query - passage).max() > 0.1


@pytest.mark.parametrize(
  ("sizes", "expected"),
  [
    ((12, 768, 12, 64, 3072), 110_218_368),
    ((24, 1024, 16, 64, 4096), 335_726_080),
    ((24, 1024, 32, 128, 16384), 1_241_696_256),
    ((24, 1024, 128, 128, 65536), 4_865_577_984),
  ],
  ids=["base", "large", "xl", "xxl"],
)
def test_counts_of_the_released_models(sizes, expected):
  layers, embed, heads, head_dim, mlp_dim = sizes
  encoder = t5_encoder.T5Encoder(layers, heads, head_dim, mlp_dim)
  model = dual_encoder.DualEncoder(
    text_encoder.TextEncoder(encoder, vocab_size=32128, embed_dim=embed)
  )
  one = jnp.ones((1, 1), jnp.int32)
  shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), one, one))
  assert sum(x.size for x in jax.tree.leaves(shapes)) == expected


def test_model_axis_splits_vocabulary_heads_and_mlp():
  mesh = partitioning.Layout(model_parallel=2).mesh()
  layout = partitioning.shardings(init(make(num_layers=1)), mesh)
  specs = {
    name: tuple(sharding.spec)
    for name, sharding in names.flatten(layout).items()
  }
  assert specs["token_embedder/embedding"] == ("model", None)
  assert specs["encoder/layers_0/attention/query/kernel"] == (None, "model")
  assert specs["encoder/layers_0/attention/out/kernel"] == ("model", None)
  assert specs["encoder/layers_0/mlp/wi/kernel"] == (None, "model")
  assert specs["encoder/encoder_norm/scale"] == (None,)
