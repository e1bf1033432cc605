"""Contrastive training: each query against all passages of the global batch."""

import dataclasses
from typing import cast

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen import spmd
from jaxtyping import Array, Bool, Float, Int

from gtr_jax import scoring
from gtr_jax.losses import contrastive, false_negatives, ranking_metrics
from gtr_jax.objectives import chunks
from gtr_jax.objectives import temperature as temperature_lib
from gtr_jax.types import Batch, Metrics, Params, TowerName


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
    num_chunks: the batch is encoded in this many pieces, to save memory.

  Source: Ni et al., 2021, eq. 1 and 2 (https://arxiv.org/abs/2112.07899).
  """

  model: nn.Module
  temperature: temperature_lib.Fixed | temperature_lib.Learned = (
    temperature_lib.Fixed()
  )
  margin: float = 0.0
  label_smoothing: float = 0.0
  num_chunks: int = 1

  def __post_init__(self):
    if not 0 <= self.label_smoothing < 1:
      raise ValueError(
        f"LABEL_SMOOTHING is {self.label_smoothing}; it must be at least 0"
        " and less than 1"
      )
    if self.num_chunks < 1:
      raise ValueError(
        f"NUM_CHUNKS is {self.num_chunks}; it must be at least 1"
      )

  def init(self, rng: jax.Array, batch: Batch) -> Params:
    """Parameters in boxes that carry their logical axis names."""
    passages = _flatten(batch["passage_tokens"])
    params = self.model.init(rng, batch["query_tokens"], passages)["params"]
    return {**params, **self.temperature.init()}

  def loss(
    self, params: Params, batch: Batch, rng: jax.Array | None
  ) -> tuple[Float[Array, ""], Metrics]:
    """The loss in nats and its metrics, both over the global batch."""
    passage_tokens = batch["passage_tokens"]  # [B, 1 + K, L]
    query_rng, passage_rng = (
      (None, None) if rng is None else jax.random.split(rng)
    )
    queries = self._encode(params, "query", batch["query_tokens"], query_rng)
    passages = self._encode(
      params, "passage", _flatten(passage_tokens), passage_rng
    )
    heat = self.temperature(params)
    cosines = scoring.dot_products(queries, passages)
    cosines = spmd.with_logical_constraint(cosines, ("batch", None))
    excluded = false_negatives.excluded(
      batch["query_keys"], batch["passage_keys"], batch["positive_keys"]
    )
    num_passages = passage_tokens.shape[1]
    row_loss, column_loss = self._both_directions(
      cosines, excluded, heat, num_passages
    )
    metrics = {
      "loss_query_to_passage": row_loss,
      "loss_passage_to_query": column_loss,
      "temperature": heat,
      **_ranking(cosines, excluded, num_passages),
      "masked_rate": _masked_rate(excluded, batch["passage_keys"]),
    }
    return row_loss + column_loss, metrics

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

  def _encode(
    self,
    params: Params,
    tower: TowerName,
    tokens: Int[Array, "N L"],
    rng: jax.Array | None,
  ) -> Float[Array, "N D"]:
    def encode(chunk, index):
      rngs = {} if rng is None else {"dropout": jax.random.fold_in(rng, index)}
      embeddings = self.model.apply(
        {"params": params},
        chunk,
        deterministic=rng is None,
        rngs=rngs,
        method=f"encode_{tower}",
      )
      return cast(jax.Array, embeddings)

    return chunks.encode_in_chunks(encode, tokens, self.num_chunks)


def _flatten(tokens: Int[Array, "B K L"]) -> Int[Array, "N L"]:
  return tokens.reshape(-1, tokens.shape[-1])


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
  """Share of the cells with a passage, other than the own positive's."""
  num_queries, num_passages, _ = passage_keys.shape
  present = (passage_keys != 0).any(axis=2).reshape(1, -1)  # [1, N]
  own = jax.nn.one_hot(
    jnp.arange(num_queries) * num_passages, excluded.shape[1], dtype=bool
  )
  cells = present & ~own
  masked = (excluded & cells).sum().astype(jnp.float32)
  return masked / jnp.maximum(cells.sum().astype(jnp.float32), 1.0)
