"""Texts that share rows have the loss and the gradient of texts that do not."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from gtr_jax import packing, partitioning, types
from gtr_jax.data import global_batch, packed
from gtr_jax.models import dual_encoder, t5_encoder, text_encoder
from gtr_jax.objectives import contrastive, temperature

B, K = 16, 3


@dataclasses.dataclass
class Same:
  """A stream of one batch; satisfies `packed.Source`."""

  batch: types.HostBatch
  batch_size: int = B
  process_index: int = 0
  process_count: int = 1

  @property
  def lengths(self) -> dict[types.TowerName, int]:
    return {"query": 8, "passage": 16}

  def global_batch_at(self, number: int) -> global_batch.GlobalBatch:
    del number
    texts: dict[types.TowerName, packing.Texts] = {}
    for tower in self.lengths:
      rows = self.batch[f"{tower}_tokens"].reshape(-1, self.lengths[tower])
      sizes = (rows > 0).sum(axis=1)
      starts = np.arange(len(rows)) * rows.shape[1]
      texts[tower] = packing.from_array(rows.reshape(-1), starts, sizes)
    return global_batch.GlobalBatch(
      texts,
      lambda part: {
        name: array[part]
        for name, array in self.batch.items()
        if not name.endswith("_tokens")
      },
    )

  def ids_at(self, number: int) -> list[int]:
    return list(range(number * B, (number + 1) * B))

  def describe(self) -> str:
    return "random texts"

  def position(self) -> dict[str, Any]:
    return {"batches": 0}

  def restore(self, position: Any) -> None:
    assert position == self.position()


def random_batch():
  rng = np.random.default_rng(0)

  def tokens(*shape):
    sizes = rng.integers(1, shape[-1] + 1, shape[:-1])
    rows = rng.integers(1, 64, shape)
    return np.where(np.arange(shape[-1]) < sizes[..., None], rows, 0)

  passages = tokens(B, K, 16)
  passages[2, 1:] = passages[3, 2] = 0  # No negatives, and one too few.
  numbers = 1 + np.arange(B * K).reshape(B, K)
  keys = np.where((passages > 0).any(axis=2), numbers, 0)
  keys = np.stack([np.zeros_like(keys), keys], axis=-1)
  query_keys = np.stack([np.zeros(B), 1 + np.arange(B)], axis=-1)
  batch = {
    "query_tokens": tokens(B, 8),
    "passage_tokens": passages,
    "query_keys": query_keys,
    "passage_keys": keys,
    "positive_keys": keys[:, :1],
    "example_ids": np.arange(B),
  }
  return {name: array.astype(np.int32) for name, array in batch.items()}


BATCH = random_batch()


def make(num_chunks=1):
  tower = text_encoder.TextEncoder(
    t5_encoder.T5Encoder(num_layers=2, num_heads=2, head_dim=4, mlp_dim=16),
    vocab_size=64,
    embed_dim=8,
    projection_dim=16,
  )
  return contrastive.Contrastive(
    dual_encoder.DualEncoder(tower),
    temperature.Fixed(0.05),
    num_chunks=num_chunks,
  )


@pytest.fixture(scope="module")
def params():
  return nn.unbox(jax.jit(make().init)(jax.random.key(0), BATCH))


def evaluate(objective, params, batch):
  def loss(params, batch):
    return objective.loss(params, batch, None)

  return jax.jit(jax.value_and_grad(loss, has_aux=True))(params, batch)


@pytest.fixture(scope="module")
def padded(params):
  return evaluate(make(), params, BATCH)


def assert_equal(came, due):
  (loss, _), gradient = came
  (loss_due, _), gradient_due = due
  np.testing.assert_allclose(loss, loss_due, rtol=1e-5)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5),
    gradient,
    gradient_due,
  )


@pytest.mark.parametrize("num_chunks", [1, 3])
def test_packing_changes_no_gradient(params, padded, num_chunks):
  batch = packed.PackedBatches(Same(BATCH)).batch_at(0)
  assert len(batch["passage_rows"]) < 0.75 * B * K
  assert_equal(evaluate(make(num_chunks), params, batch), padded)


@pytest.mark.parametrize("num_devices", [2, 8])
def test_packing_by_devices_changes_no_gradient(params, padded, num_devices):
  batch = packed.PackedBatches(Same(BATCH), num_devices).batch_at(0)
  mesh = partitioning.Layout().mesh(jax.devices()[:num_devices])
  with jax.set_mesh(mesh):
    came = evaluate(make(), params, partitioning.to_global(batch, mesh))
  assert_equal(jax.device_get(came), padded)


def test_parameters_are_those_of_a_padded_batch(params):
  batch = packed.PackedBatches(Same(BATCH)).batch_at(0)
  came = nn.unbox(jax.jit(make().init)(jax.random.key(0), batch))
  jax.tree.map(np.testing.assert_array_equal, came, params)


def test_the_share_of_cells_in_use_is_a_metric(params, padded):
  batch = packed.PackedBatches(Same(BATCH)).batch_at(0)
  (_, metrics), _ = evaluate(make(), params, batch)
  tokens = sum((BATCH[f"{t}_tokens"] > 0).sum() for t in ("query", "passage"))
  cells = sum(batch[f"{t}_rows"].size for t in ("query", "passage"))
  np.testing.assert_allclose(metrics["cells_used"], tokens / cells, rtol=1e-6)
  due = tokens / (B * 8 + B * K * 16)
  np.testing.assert_allclose(padded[0][1]["cells_used"], due, rtol=1e-6)
  assert jnp.shape(metrics["cells_used"]) == ()
