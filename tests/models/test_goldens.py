"""Embeddings, loss, gradients and updates against T5X's own numbers."""

import functools
from typing import Any

import jax
import numpy as np
import optax
import pytest

from gtr_jax.checkpoints import names, sizes, t5x
from gtr_jax.models import dual_encoder, t5_encoder, text_encoder
from gtr_jax.objectives import contrastive
from gtr_jax.training import optimizer_state, optimizers

TINY = "test_de_t5_tiny.checkpoint_1000"
# Folder: golden file, distance from which on relative positions are one.
GOLDENS = {
  TINY: ("test_de_t5_tiny_golden.npz", 8),
  "trained_legacy": ("trained_golden.npz", 128),
  "trained_orbax_ocdbt": ("trained_golden.npz", 128),
  "trained_orbax_zarr": ("trained_golden.npz", 128),
}
TWO_MODELS = pytest.mark.parametrize("name", [TINY, "trained_legacy"])


@functools.cache
def load(folder, name):
  """The checkpoint, its golden arrays, and the model in float32."""
  golden, max_distance = GOLDENS[name]
  checkpoint = t5x.read_t5x(folder / "t5x" / name)
  found = sizes.from_arrays(names.flatten(checkpoint.params))
  assert not found.gated and found.projection_dim == 768
  encoder = t5_encoder.T5Encoder(
    found.num_layers,
    found.num_heads,
    found.head_dim,
    found.mlp_dim,
    relative_attention_num_buckets=found.num_buckets,
    relative_attention_max_distance=max_distance,
  )
  tower = text_encoder.TextEncoder(encoder, found.vocab_size, found.embed_dim)
  arrays = np.load(folder / "t5x" / golden)
  return checkpoint, arrays, dual_encoder.DualEncoder(tower)


def batch_of(golden):
  """T5X's batch; every text has a key of its own, so that none is masked."""
  queries = golden["left_encoder_input_tokens"]
  passages = golden["right_encoder_input_tokens"][:, None]
  keys = np.arange(1, 1 + 4 * len(queries), dtype=np.int32).reshape(2, -1, 2)
  return {
    "query_tokens": queries,
    "passage_tokens": passages,
    "query_keys": keys[0],
    "passage_keys": keys[1][:, None],
    "positive_keys": np.zeros((len(queries), 1, 2), np.int32),
  }


@functools.cache
def loss_and_grads(folder, name):
  """A compiled function of parameters: ((loss, metrics), gradients)."""
  _, golden, model = load(folder, name)
  objective = contrastive.Contrastive(model)
  batch = batch_of(golden)

  def function(params):
    return objective.loss(params, batch, None)

  return jax.jit(jax.value_and_grad(function, has_aux=True))


@pytest.mark.parametrize("name", GOLDENS)
def test_embeddings(shared_data, name):
  checkpoint, golden, model = load(shared_data, name)
  for side, method in (("left", "encode_query"), ("right", "encode_passage")):
    tokens = golden[f"{side}_encoder_input_tokens"]
    actual = model.apply({"params": checkpoint.params}, tokens, method=method)
    np.testing.assert_allclose(
      np.asarray(actual), golden[f"float32/{side}_embeddings"], atol=1e-6
    )


@TWO_MODELS
def test_loss_and_gradients(shared_data, name):
  """T5X's float32 gradients are themselves off by up to 4e-5 of the largest
  entry (against float64), ours by up to 8e-6."""
  checkpoint, golden, _ = load(shared_data, name)
  (loss, _), grads = loss_and_grads(shared_data, name)(checkpoint.params)
  np.testing.assert_allclose(loss, golden["float32/loss"], rtol=1e-5)
  for parameter, actual in names.flatten(grads).items():
    expected = golden[f"grad/{parameter}"]
    np.testing.assert_allclose(
      np.linalg.norm(actual), np.linalg.norm(expected), rtol=1e-4
    )
    np.testing.assert_allclose(
      actual, expected, rtol=0, atol=1e-4 * np.abs(expected).max()
    )


@TWO_MODELS
def test_three_steps_of_adafactor(shared_data, name):
  """Going on from T5X's optimizer state, with this model's own gradients."""
  checkpoint, golden, _ = load(shared_data, name)
  differentiate = loss_and_grads(shared_data, name)
  optimizer = optimizers.adafactor(1e-3)
  params: Any = checkpoint.params
  state = optimizer_state.from_t5x(optimizer.init(params), checkpoint)
  update = jax.jit(optimizer.update)
  for step in (1, 2, 3):
    _, grads = differentiate(params)
    updates, state = update(grads, state, params)
    params = optax.apply_updates(params, updates)
    if step != 2:
      for parameter, actual in names.flatten(params).items():
        np.testing.assert_allclose(
          actual,
          golden[f"adafactor_step{step}/{parameter}"],
          rtol=0,
          atol=1e-5,
          err_msg=f"step {step}: {parameter}",
        )
