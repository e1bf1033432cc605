"""Contrastive training: each query against all passages of the global batch."""

import dataclasses

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen import spmd
from jaxtyping import Array, Bool, Float, Int

from gtr_jax import scoring
from gtr_jax.losses import (
  contrastive,
  false_negatives,
  ranking_metrics,
  tiled,
)
from gtr_jax.objectives import temperature as temperature_lib
from gtr_jax.objectives import towers
from gtr_jax.types import Batch, Metrics, Params


@dataclasses.dataclass(frozen=True)
class Contrastive:
  """A dual encoder trained to tell each query's passage from all others.

  The loss is the sum of two means: over the queries, cross-entropy of the rows
  of S [B, B(1+K)]; over the positives, cross-entropy of the columns of
  S [B, B].  The hard negatives of all queries serve every query, and only in
  the first direction.  False negatives are masked in both.

  Attributes:
    model: the dual encoder.
    temperature: divides the cosines; `temperature.Fixed` or `.Learned`.
    margin: subtracted from the positive's cosine, before the temperature.
    label_smoothing: share of the target that other passages receive.
    num_chunks: each device encodes its texts in this many pieces, to save
      memory.
    scan_layers: the layers are a loop, which compiles once, not once a layer.
    score_tile: the scores of a larger batch are computed in tiles of this many
      queries around a ring of devices, to save memory; None holds all of them
      at once.

  Source: Ni et al., 2021, eq. 1 and 2 (https://arxiv.org/abs/2112.07899).
  """

  model: nn.Module
  temperature: temperature_lib.Fixed | temperature_lib.Learned = (
    temperature_lib.Fixed()
  )
  margin: float = 0.0
  label_smoothing: float = 0.0
  num_chunks: int = 1
  scan_layers: bool = False
  score_tile: int | None = None

  def __post_init__(self):
    if not 0 <= self.label_smoothing < 1:
      raise ValueError(
        f"LABEL_SMOOTHING is {self.label_smoothing}; it must be at least 0"
        " and less than 1"
      )
    for name, number in (
      ("NUM_CHUNKS", self.num_chunks),
      ("SCORE_TILE", self.score_tile),
    ):
      if number is not None and number < 1:
        raise ValueError(f"{name} is {number}; it must be at least 1")

  def init(self, rng: jax.Array, batch: Batch) -> Params:
    """Parameters in boxes that carry their logical axis names."""
    return {**self._towers.init(rng, batch), **self.temperature.init()}

  def loss(
    self, params: Params, batch: Batch, rng: jax.Array | None
  ) -> tuple[Float[Array, ""], Metrics]:
    """The loss in nats and its metrics, both over the global batch."""
    queries, passages = self._towers(params, batch, rng)
    heat = self.temperature(params)
    # A batch of one tile is its score matrix; the ring would only cost time.
    whole = self.score_tile is None or len(queries) <= self.score_tile
    evaluate = self._dense if whole else self._tiled
    row_loss, column_loss, metrics = evaluate(queries, passages, heat, batch)
    metrics = {
      "loss_query_to_passage": row_loss,
      "loss_passage_to_query": column_loss,
      "temperature": heat,
      **metrics,
      "cells_used": _cells_used(batch),
    }
    return row_loss + column_loss, metrics

  @property
  def _towers(self) -> towers.Towers:
    return towers.Towers(self.model, self.num_chunks, self.scan_layers)

  def _tiled(
    self,
    queries: Float[Array, "B D"],
    passages: Float[Array, "N D"],
    heat: Float[Array, ""],
    batch: Batch,
  ) -> tuple[Float[Array, ""], Float[Array, ""], Metrics]:
    return tiled.contrastive_loss(
      queries,
      passages,
      heat,
      query_keys=batch["query_keys"],
      passage_keys=batch["passage_keys"],
      positive_keys=batch["positive_keys"],
      margin=self.margin,
      label_smoothing=self.label_smoothing,
      tile=self.score_tile or len(queries),
    )

  def _dense(
    self,
    queries: Float[Array, "B D"],
    passages: Float[Array, "N D"],
    heat: Float[Array, ""],
    batch: Batch,
  ) -> tuple[Float[Array, ""], Float[Array, ""], Metrics]:
    cosines = scoring.dot_products(queries, passages)
    cosines = spmd.with_logical_constraint(cosines, ("batch", None))
    excluded = false_negatives.excluded(
      batch["query_keys"], batch["passage_keys"], batch["positive_keys"]
    )
    num_passages = batch["passage_keys"].shape[1]
    row_loss, column_loss = self._both_directions(
      cosines, excluded, heat, num_passages
    )
    metrics = {
      **_ranking(cosines, excluded, num_passages),
      "masked_rate": _masked_rate(excluded, batch["passage_keys"]),
    }
    return row_loss, column_loss, metrics

  def _both_directions(
    self,
    cosines: Float[Array, "B N"],
    excluded: Bool[Array, "B N"],
    heat: Float[Array, ""],
    num_passages: int,
  ) -> tuple[Float[Array, ""], Float[Array, ""]]:
    own = jnp.arange(len(cosines))
    positives = own * num_passages
    scores = cosines / heat
    if self.margin:
      scores = scores.at[own, positives].add(-self.margin / heat)
    rows = contrastive.softmax_loss(
      scores, positives, excluded, self.label_smoothing
    )
    columns = contrastive.softmax_loss(
      scores[:, ::num_passages].T,
      own,
      excluded[:, ::num_passages].T,
      self.label_smoothing,
    )
    return rows.mean(), columns.mean()


def _ranking(
  cosines: Float[Array, "B N"], excluded: Bool[Array, "B N"], num_passages: int
) -> Metrics:
  positives = jnp.arange(len(cosines)) * num_passages
  ranks = ranking_metrics.positive_ranks(cosines, positives, excluded)
  return {
    "accuracy": (ranks == 1).astype(jnp.float32).mean(),
    "mrr": (1.0 / ranks).astype(jnp.float32).mean(),
  }


def _masked_rate(
  excluded: Bool[Array, "B N"], passage_keys: Int[Array, "B K 2"]
) -> Float[Array, ""]:
  """Share of the cells with a passage, other than the own positive's.

  Means of rows: the cells of the whole matrix are more than an int32 counts.
  """
  num_queries, num_passages, _ = passage_keys.shape
  present = (passage_keys != 0).any(axis=2).reshape(1, -1)  # [1, N]
  own = jax.nn.one_hot(
    jnp.arange(num_queries) * num_passages, excluded.shape[1], dtype=bool
  )
  cells = present & ~own
  masked = (excluded & cells).sum(axis=1).astype(jnp.float32).mean()
  all_cells = cells.sum(axis=1).astype(jnp.float32).mean()
  return masked / jnp.maximum(all_cells, 1e-9)


def _cells_used(batch: Batch) -> Float[Array, ""]:
  """Share of the encoded cells, of both towers, that hold a token."""
  cells = [
    x for name, x in batch.items() if name.endswith(("_tokens", "_rows"))
  ]
  num_cells = sum(x.size for x in cells)
  # Means, because the number of cells may exceed an int32.
  shares = [
    (x > 0).astype(jnp.float32).mean() * (x.size / num_cells) for x in cells
  ]
  return jnp.stack(shares).sum()
