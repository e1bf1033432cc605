"""The objective is its definition; chunks and devices never change it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from gtr_jax import partitioning
from gtr_jax.models import dual_encoder, t5_encoder, text_encoder
from gtr_jax.objectives import contrastive, temperature
from gtr_jax.training import state as state_lib
from gtr_jax.training import step as step_lib

B, K, P = 16, 3, 2


def make(**settings):
  tower = text_encoder.TextEncoder(
    t5_encoder.T5Encoder(
      num_layers=1,
      num_heads=2,
      head_dim=4,
      mlp_dim=16,
      dropout_rate=settings.pop("dropout_rate", 0.0),
    ),
    vocab_size=64,
    embed_dim=8,
    projection_dim=16,
  )
  settings.setdefault("temperature", temperature.Fixed(0.05))
  return contrastive.Contrastive(dual_encoder.DualEncoder(tower), **settings)


@pytest.fixture(scope="module")
def batch():
  rng = np.random.default_rng(0)
  passages = rng.integers(1, 64, (B, K, 7))
  passages[2, 1:] = 0  # No negatives at all.
  passages[3, 2] = 0
  passages[5, 0] = passages[9, 0]  # A copy of a positive.
  hashes = np.zeros((B, K, 2), np.int32)
  hashes[..., 1] = passages @ (31 ** np.arange(7)) % 1_000_003
  positives = np.zeros((B, P, 2), np.int32)
  positives[:, 0] = hashes[:, 0]
  positives[6, 1] = hashes[8, 2]  # Another's negative is a positive of 6.
  queries = np.zeros((B, 2), np.int32)
  queries[:, 1] = 1 + np.arange(B) % (B - 1)  # The last is a copy of the first.
  return {
    "query_tokens": rng.integers(0, 64, (B, 5)).astype(np.int32),
    "passage_tokens": passages.astype(np.int32),
    "query_keys": queries,
    "passage_keys": hashes,
    "positive_keys": positives,
    "example_ids": np.arange(B, dtype=np.int32),
  }


@pytest.fixture(scope="module")
def params(batch):
  return nn.unbox(jax.jit(make().init)(jax.random.key(0), batch))


def excluded(batch):
  same = lambda a, b: any(x == y != 0 for x, y in zip(a, b, strict=True))
  mask = np.zeros((B, B, K), bool)
  for b in range(B):
    for c in range(B):
      for k in range(K):
        passage = batch["passage_keys"][c, k]
        mask[b, c, k] = (
          not passage.any()
          or any(same(passage, known) for known in batch["positive_keys"][b])
          or (k == 0 and same(batch["query_keys"][b], batch["query_keys"][c]))
        )
  return mask


def embeddings(objective, params, tokens, tower):
  encoded = dual_encoder.encode(objective.model, params, tokens, tower)
  return np.asarray(encoded, np.float64)


def definition(objective, params, batch, heat, margin=0.0, smoothing=0.0):
  """Both directions in float64, cell by cell, from the model's embeddings."""
  queries = embeddings(objective, params, batch["query_tokens"], "query")
  flat = batch["passage_tokens"].reshape(B * K, -1)
  passages = embeddings(objective, params, flat, "passage").reshape(B, K, -1)
  scores = np.einsum("bd,ckd->bck", queries, passages)
  scores[np.arange(B), np.arange(B), 0] -= margin
  scores, masked = scores / heat, excluded(batch)

  def cross_entropy(own, others):
    log_sum = np.log(np.exp([own, *others]).sum())
    loss = (1 - smoothing) * (log_sum - own)
    return loss + smoothing * np.mean([log_sum - other for other in others])

  rows, columns = [], []
  for b in range(B):
    cells = [(c, k) for c in range(B) for k in range(K) if (c, k) != (b, 0)]
    others = [scores[b, c, k] for c, k in cells if not masked[b, c, k]]
    rows.append(cross_entropy(scores[b, b, 0], others))
    others = [
      scores[c, b, 0] for c in range(B) if c != b and not masked[c, b, 0]
    ]
    columns.append(cross_entropy(scores[b, b, 0], others))
  return np.mean(rows) + np.mean(columns)


@pytest.mark.parametrize(
  "settings", [{}, {"margin": 0.2}, {"smoothing": 0.1}], ids=str
)
def test_is_its_definition(batch, params, settings):
  objective = make(
    margin=settings.get("margin", 0.0),
    label_smoothing=settings.get("smoothing", 0.0),
  )
  loss, metrics = jax.jit(objective.loss)(params, batch, None)
  expected = definition(objective, params, batch, 0.05, **settings)
  np.testing.assert_allclose(loss, expected, rtol=1e-5)
  cells = np.ones((B, B, K), bool)
  cells[np.arange(B), np.arange(B), 0] = False
  cells &= batch["passage_keys"].any(axis=2)[None]
  rate = (excluded(batch) & cells).sum() / cells.sum()
  np.testing.assert_allclose(metrics["masked_rate"], rate, rtol=1e-6)


def test_without_negatives_is_the_square_matrix(batch, params):
  square = {
    **batch,
    "passage_tokens": batch["passage_tokens"][:, :1],
    "passage_keys": np.zeros((B, 1, 2), np.int32),
    "positive_keys": np.zeros((B, 1, 2), np.int32),
    "query_keys": np.zeros((B, 2), np.int32),
  }
  square["passage_keys"][:, 0, 1] = 1 + np.arange(B)
  objective = make()
  queries = embeddings(objective, params, square["query_tokens"], "query")
  positives = square["passage_tokens"][:, 0]
  passages = embeddings(objective, params, positives, "passage")
  scores = queries @ passages.T / 0.05
  own = np.diag(scores)
  expected = (np.log(np.exp(scores).sum(1)) - own).mean() + (
    np.log(np.exp(scores).sum(0)) - own
  ).mean()
  loss, metrics = jax.jit(objective.loss)(params, square, None)
  np.testing.assert_allclose(loss, expected, rtol=1e-5)
  ranks = (scores >= own[:, None]).sum(axis=1)
  np.testing.assert_allclose(metrics["accuracy"], (ranks == 1).mean())
  np.testing.assert_allclose(metrics["mrr"], (1 / ranks).mean(), rtol=1e-6)


def test_learned_temperature_starts_where_told_and_stays_in_bounds(batch):
  learned = temperature.Learned(initial=0.05, minimum=0.01, maximum=0.5)
  objective = make(temperature=learned)
  params = nn.unbox(jax.jit(objective.init)(jax.random.key(0), batch))
  value_and_grad = jax.jit(jax.value_and_grad(objective.loss, has_aux=True))
  (loss, metrics), gradient = value_and_grad(params, batch, None)
  np.testing.assert_allclose(metrics["temperature"], 0.05, rtol=1e-6)
  np.testing.assert_allclose(
    loss, jax.jit(make().loss)(params, batch, None)[0], rtol=1e-5
  )
  assert gradient["temperature"]["logit"] != 0
  for logit, bound in ((-1e6, 0.01), (1e6, 0.5)):
    heat = learned({"temperature": {"logit": jnp.float32(logit)}})
    np.testing.assert_allclose(heat, bound, rtol=1e-6)


@pytest.mark.parametrize("chunks", [2, 3, 1000])
def test_chunked_gradients_equal_whole_batch_gradients(batch, params, chunks):
  grad = lambda o: jax.jit(jax.grad(lambda p: o.loss(p, batch, None)[0]))(
    params
  )
  whole, chunked = grad(make()), grad(make(num_chunks=chunks))
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-5),
    whole,
    chunked,
  )


def updated(batch, mesh, num_chunks):
  objective, optimizer = make(num_chunks=num_chunks), optax.sgd(1.0)
  init = state_lib.make_init(objective, optimizer, batch)
  state, layout = state_lib.create(init, 0, mesh)
  step = step_lib.compile_step(objective, optimizer, mesh, layout)
  before = jax.device_get(state.params)
  state, metrics = step(state, [partitioning.to_global(batch, mesh)])
  gradient = jax.tree.map(
    lambda a, b: a - np.asarray(b), before, jax.device_get(state.params)
  )
  return float(metrics["loss"]), gradient


def make_mesh(num_devices, **layout):
  devices = jax.devices()[:num_devices]
  return partitioning.Layout(**layout).mesh(devices)


@pytest.fixture(scope="module")
def updated_on_one_device(batch):
  return updated(batch, make_mesh(1), 1)


@pytest.mark.parametrize(
  ("layout", "num_chunks"), [({"model_parallel": 2}, 1), ({}, 2)]
)
def test_eight_devices_equal_one(
  batch, updated_on_one_device, layout, num_chunks
):
  loss, gradient = updated_on_one_device
  loss_of_many, gradient_of_many = updated(
    batch, make_mesh(8, **layout), num_chunks
  )
  np.testing.assert_allclose(loss_of_many, loss, rtol=1e-5)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5),
    gradient_of_many,
    gradient,
  )


def test_dropout_follows_the_key(batch, params):
  objective = make(dropout_rate=0.2)
  loss = jax.jit(lambda key: objective.loss(params, batch, key)[0])
  a, b, c = map(loss, map(jax.random.key, (0, 0, 1)))
  assert a == b != c
