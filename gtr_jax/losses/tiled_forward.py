"""Both directions' losses, and ranks, from tiles around a ring of devices.

A device keeps its queries and sees the passages of all devices pass by.  With
the passages travel the sums of their columns, which are complete when they are
home again.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from gtr_jax.losses import ranking_metrics, score_tiles, tile_stacks
from gtr_jax.losses.ring import Ring


@dataclasses.dataclass(frozen=True)
class Settings:
  """What is no array; see `tiled.contrastive_loss`."""

  margin: float
  label_smoothing: float
  tile: int
  precision: jax.lax.PrecisionLike


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Softmax:
  """Sums over the scores seen so far, one for each row or each column.

  Attributes:
    maximum: largest score.
    total: sum of exp(score - maximum).  Kept apart from the maximum: a sum of
      logarithms of a thousand tiles would lose digits.
    num_others: scores seen, the own positive's left out; None if not asked.
    others: sum of these scores; None if not asked.
  """

  maximum: Float[Array, "*T B"]
  total: Float[Array, "*T B"]
  num_others: Int[Array, "*T B"] | None
  others: Float[Array, "*T B"] | None

  def add(self, scores: Float[Array, "B N"], axis: int) -> "Softmax":
    """With the scores of one more tile; those at -inf do not count."""
    maximum = jnp.maximum(self.maximum, scores.max(axis))
    exps = jnp.exp(scores - jnp.expand_dims(maximum, axis))
    total = self.total * jnp.exp(self.maximum - maximum) + exps.sum(axis)
    num_others, others = self.num_others, self.others
    counted = scores > -jnp.inf
    if num_others is not None:
      num_others += _count(counted, axis)
    if others is not None:
      others += jnp.where(counted, scores, 0.0).sum(axis)
    return Softmax(maximum, total, num_others, others)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Rows:
  """What is known of the queries' rows.

  Attributes:
    softmax: over the row.
    level: score from which another passage is ahead of the positive.
    num_ahead: how many are.
  """

  softmax: Softmax
  level: Float[Array, "*T B"]
  num_ahead: Int[Array, "*T B"]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Direction:
  """One direction's result, a number for each query or each positive.

  Attributes:
    loss: in nats.
    log_sum: log of the sum of exp(score), the own score's included.
    num_others: scores that count beside the own one; None if not asked.
  """

  loss: Float[Array, "B"]
  log_sum: Float[Array, "B"]
  num_others: Int[Array, "B"] | None


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Forward:
  """Results for a share of the queries and their positives.

  Attributes:
    own_scores: of queries with their positives, less margin, by temperature.
    rows: from query to passages; `num_others` is there.
    columns: from positive to queries.
    ranks: of the positives in their rows, from 1.
  """

  own_scores: Float[Array, "B"]
  rows: Direction
  columns: Direction
  ranks: Int[Array, "B"]


def forward(
  settings: Settings,
  ring: Ring,
  queries: Float[Array, "B D"],
  passages: Float[Array, "N D"],
  temperature: Float[Array, ""],
  keys: tile_stacks.Keys,
) -> Forward:
  """For one device's share of the batch."""
  tiles = tile_stacks.even_tiles(keys.num_queries, settings.tile)
  first_place = ring.place() * keys.num_queries
  query_tiles = tile_stacks.stack_queries(queries, keys, first_place, tiles)
  passage_tiles = tile_stacks.stack_passages(passages, keys, first_place, tiles)
  own_cosines = jnp.sum(queries * passages[:: keys.num_passages], axis=1)
  own_scores = (own_cosines - settings.margin) / temperature
  level = (own_cosines - ranking_metrics.TIE) / temperature
  columns = _own_alone(tiles.stack(own_scores), settings)
  none = jnp.zeros_like(query_tiles.places)
  rows = Rows(
    dataclasses.replace(columns, num_others=none), tiles.stack(level), none
  )

  def step(carry, _):
    passage_tiles, rows, columns = carry
    # First, so that they are on their way while these are computed with.
    next_tiles = ring.pass_on(passage_tiles)
    rows, columns = _add_all_tiles(
      settings, temperature, (query_tiles, rows), (passage_tiles, columns)
    )
    return (next_tiles, rows, ring.pass_on(columns)), None

  (_, rows, columns), _ = jax.lax.scan(
    step, (passage_tiles, rows, columns), length=ring.size
  )
  rows, columns = jax.tree.map(tiles.unstack, (rows, columns))
  return Forward(
    own_scores,
    _finish(rows.softmax, own_scores, settings),
    _finish(columns, own_scores, settings),
    1 + rows.num_ahead,
  )


def _own_alone(own_scores: Float[Array, "T B"], settings: Settings) -> Softmax:
  """The sums before any tile: the own score counts, whatever is masked."""
  smoothed = settings.label_smoothing > 0
  return Softmax(
    maximum=own_scores,
    total=jnp.ones_like(own_scores),
    num_others=jnp.zeros_like(own_scores, jnp.int32) if smoothed else None,
    others=jnp.zeros_like(own_scores) if smoothed else None,
  )


def _add_all_tiles(
  settings: Settings,
  temperature: Float[Array, ""],
  queries: tuple[score_tiles.Queries, Rows],
  passages: tuple[score_tiles.Passages, Softmax],
) -> tuple[Rows, Softmax]:
  """Rows and columns with the scores of all queries and passages given."""

  def add_row_of_tiles(columns: Softmax, row: tuple[Any, ...]):
    query_tile, row_tile = row

    def add_tile(row_tile: Rows, column: tuple[Any, ...]):
      passage_tile, column_tile = column
      scores = score_tiles.other_scores(
        query_tile, passage_tile, temperature, settings.precision
      )
      # Each of the sums would compute the masks again.
      scores = jax.lax.optimization_barrier(scores)
      return _add_tile(row_tile, column_tile, scores)

    row_tile, columns = jax.lax.scan(add_tile, row_tile, (passages[0], columns))
    return columns, row_tile

  columns, rows = jax.lax.scan(add_row_of_tiles, passages[1], queries)
  return rows, columns


def _add_tile(
  rows: Rows, columns: Softmax, scores: Float[Array, "B N"]
) -> tuple[Rows, Softmax]:
  ahead = scores >= rows.level[:, None]
  added = Rows(
    rows.softmax.add(scores, axis=1),
    rows.level,
    rows.num_ahead + _count(ahead, 1),
  )
  num_positives = columns.total.size  # They stand first; no direction for more.
  return added, columns.add(scores[:, :num_positives], axis=0)


def _count(cells: Bool[Array, "B N"], axis: int) -> Int[Array, "B"]:
  """A float32 counts a tile exactly, and is summed beside other floats."""
  return cells.astype(jnp.float32).sum(axis).astype(jnp.int32)


def _finish(
  softmax: Softmax, own_scores: Float[Array, "B"], settings: Settings
) -> Direction:
  log_sum = softmax.maximum + jnp.log(softmax.total)
  loss = log_sum - own_scores
  if softmax.others is not None and softmax.num_others is not None:
    mean = softmax.others / jnp.maximum(softmax.num_others, 1)
    # With none left to share with, the own score keeps the whole target.
    moved = jnp.where(softmax.num_others > 0, own_scores - mean, 0.0)
    loss += settings.label_smoothing * moved
  return Direction(loss, log_sum, softmax.num_others)
