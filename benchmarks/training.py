"""The models, batches and train steps that are timed."""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from flax import linen as nn

from gtr_jax import partitioning
from gtr_jax.data import packed, synthetic
from gtr_jax.layers import mlp
from gtr_jax.models import dual_encoder, t5_encoder, text_encoder
from gtr_jax.objectives import contrastive
from gtr_jax.retrieval import encode as encode_lib
from gtr_jax.retrieval import towers as towers_lib
from gtr_jax.training import optimizers
from gtr_jax.training import state as state_lib
from gtr_jax.training import step as step_lib
from gtr_jax.types import HostBatch, TokenRows, TowerName


@dataclass(frozen=True)
class Size:
  """A shape of T5 1.0's encoder, and a batch for it.

  Attributes:
    query_length, passage_length: tokens of a row.
    mean_query, mean_passage: tokens of a text, as in MS MARCO.
  """

  layers: int
  width: int
  heads: int
  head_dim: int
  mlp_dim: int
  vocab_size: int
  projection_dim: int
  batch_size: int
  query_length: int = 64
  passage_length: int = 256
  mean_query: float = 8
  mean_passage: float = 80


SIZES = {
  "tiny": Size(1, 16, 2, 8, 32, 64, 8, 8, 8, 16, 4, 6),
  "small": Size(6, 512, 8, 64, 2048, 32_128, 768, 32),
  "base": Size(12, 768, 12, 64, 3072, 32_128, 768, 32),
}


def model(size: Size) -> dual_encoder.DualEncoder:
  encoder = t5_encoder.T5Encoder(
    size.layers, size.heads, size.head_dim, size.mlp_dim, (mlp.relu,)
  )
  return dual_encoder.DualEncoder(
    text_encoder.TextEncoder(
      encoder, size.vocab_size, size.width, size.projection_dim
    )
  )


def source(size: Size, batch_size: int) -> synthetic.SyntheticBatches:
  """Texts as long as MS MARCO's."""
  return synthetic.SyntheticBatches(
    batch_size,
    query_length=size.query_length,
    passage_length=size.passage_length,
    vocab_size=size.vocab_size,
    mean_query_tokens=size.mean_query,
    mean_passage_tokens=size.mean_passage,
  )


def packed_source(size: Size, batch_size: int) -> packed.PackedBatches:
  """The same texts, packed for the devices there are."""
  num_shares = partitioning.num_shares(partitioning.Layout().mesh())
  return packed.PackedBatches(source(size, batch_size), num_shares)


def full_rows(size: Size) -> HostBatch:
  """A batch without padding."""
  batch = source(size, size.batch_size).batch_at(0)
  rng = np.random.default_rng(0)
  for name in ("query_tokens", "passage_tokens"):
    tokens = rng.integers(3, size.vocab_size, batch[name].shape)
    batch[name] = tokens.astype(np.int32)
  return batch


class Steps:
  """A train step that can be called again and again with the same batch.

  Attributes:
    objective: the loss.
    state: the newest.
  """

  def __init__(self, size: Size, batch: HostBatch, **settings: Any):
    self.objective = contrastive.Contrastive(model(size), **settings)
    layout = partitioning.Layout()
    mesh = layout.mesh()
    optimizer = optimizers.adafactor(1e-3)
    init = state_lib.make_init(self.objective, optimizer, batch)
    self.state, shardings = state_lib.create(init, 0, mesh)
    self._step = step_lib.compile_step(
      self.objective, optimizer, mesh, shardings
    )
    self._batch = partitioning.to_global(batch, mesh)

  def __call__(self) -> None:
    self.state, _ = self._step(self.state, [self._batch])
    jax.block_until_ready(self.state)


def parameters(size: Size) -> Any:
  """First parameters, random."""
  tokens = np.ones((1, 1), np.int32)
  init = jax.jit(lambda key: nn.unbox(model(size).init(key, tokens, tokens)))
  return init(jax.random.key(0))["params"]


def encoder(
  size: Size, tokenizer: TokenRows | None = None
) -> encode_lib.Encoder:
  """As users have it, with random parameters."""
  towers = model(size)

  def passages(params, tokens, segments, num_texts):
    return dual_encoder.encode(
      towers, params, tokens, "passage", None, segments, num_texts
    )

  functions: dict[TowerName, towers_lib.TowerFunction] = {
    "query": passages,
    "passage": passages,
  }
  return encode_lib.Encoder(
    towers_lib.Towers(functions, parameters(size)),
    tokenizer,
    passage_length=size.passage_length,
  )
