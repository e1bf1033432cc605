"""The contrastive loss without a score matrix: tiles, on a ring of devices."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from gtr_jax.losses import ring, tile_stacks, tiled_backward, tiled_forward
from gtr_jax.losses.tiled_forward import Forward, Settings


def contrastive_loss(
  queries: Float[Array, "B D"],
  passages: Float[Array, "N D"],
  temperature: Float[Array, ""],
  *,
  query_keys: Int[Array, "B 2"],
  passage_keys: Int[Array, "B K 2"],
  positive_keys: Int[Array, "B P 2"],
  tile: int,
  margin: float = 0.0,
  label_smoothing: float = 0.0,
  precision: jax.lax.PrecisionLike = jax.lax.Precision.HIGHEST,
) -> tuple[Float[Array, ""], Float[Array, ""], dict[str, Float[Array, ""]]]:
  """Mean losses from query to passage and back, in nats, and metrics.

  The same numbers and gradients (of queries, passages and temperature) as
  `contrastive.softmax_loss` of the masked score matrix [B, N] and of its
  positives' transpose, but no array is larger than a device's share of the
  embeddings or than a tile.  The scores are computed twice, once for the
  gradient.

  Arrays are those of the global batch; all devices of the mesh in context
  (`jax.set_mesh`) share the work, whatever the arrays' own layout.

  Args:
    queries: embeddings, of unit length.
    passages: embeddings; the positive of query b is b * K.
    temperature: divides the cosines.
    query_keys: see `false_negatives.excluded`, also for the next two.
    passage_keys: of the passages.
    positive_keys: of the known positives of each query.
    tile: queries of a tile; passages are K times as many.
    margin: subtracted from the positive's cosine, before the temperature.
    label_smoothing: share of the target that other passages receive.
    precision: of all matrix products.

  Raises:
    ValueError: if the queries do not divide among the devices, or for a tile
      of no query.

  Source: tiles and online sums as in Dao et al., 2022, section 3.1
  (https://arxiv.org/abs/2205.14135); the ring as in Liu et al., 2023
  (https://arxiv.org/abs/2310.01889).  There each row has a softmax; here each
  column has one as well.
  """
  if tile < 1:
    raise ValueError(f"SCORE_TILE is {tile}; it must be at least 1")
  keys = tile_stacks.Keys(query_keys, passage_keys, positive_keys)
  settings = Settings(margin, label_smoothing, tile, precision)
  outputs: Any = _losses(
    settings,
    queries.astype(jnp.float32),
    passages.astype(jnp.float32),
    temperature,
    keys,
  )
  row_losses, column_losses, ranks, num_others = outputs
  metrics = {
    "accuracy": (ranks == 1).astype(jnp.float32).mean(),
    "mrr": (1.0 / ranks).astype(jnp.float32).mean(),
    "masked_rate": _masked_rate(num_others, passage_keys),
  }
  return row_losses.mean(), column_losses.mean(), metrics


def _masked_rate(
  num_others: Int[Array, "B"], passage_keys: Int[Array, "B K 2"]
) -> Float[Array, ""]:
  """Share of the cells with a passage, other than the own positive's.

  Means of rows: the cells of the whole matrix are more than an int32 counts.
  """
  present = (passage_keys != 0).any(axis=2)  # [B, K]
  cells = present.sum() - present[:, 0].astype(jnp.int32)  # [B]
  masked = (cells - num_others).astype(jnp.float32).mean()
  return masked / jnp.maximum(cells.astype(jnp.float32).mean(), 1e-9)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _losses(settings, queries, passages, temperature, keys):
  """Losses of rows and columns, ranks of positives, counted others: all [B]."""
  results = _results(settings, queries, passages, temperature, keys)
  return _outputs(results)


def _results(settings, *arrays) -> Forward:
  devices = ring.of_context()
  function = functools.partial(tiled_forward.forward, settings, devices)
  return devices.on_each(function, *arrays)


def _outputs(results: Forward):
  rows, columns = results.rows, results.columns
  return rows.loss, columns.loss, results.ranks, rows.num_others


def _losses_forward(settings, *arrays):
  results = _results(settings, *arrays)
  return _outputs(results), (arrays, results)


def _losses_backward(settings, residuals, gradients):
  arrays, results = residuals
  queries, _, temperature, _ = arrays
  row_gradients, column_gradients, *_ = gradients
  devices = ring.of_context()
  function = functools.partial(tiled_backward.backward, settings, devices)
  for_queries, for_passages, for_own = devices.on_each(
    function, *arrays, results, row_gradients, column_gradients
  )
  # The sum over all cells of gradient * cosine is that of the queries with
  # their gradients, which is at hand.  Score = (cosine - margin) / temperature.
  moment = jnp.sum(queries * for_queries) - settings.margin * for_own.sum()
  return for_queries, for_passages, -moment / temperature, None


_losses.defvjp(_losses_forward, _losses_backward)
