"""The gradient of the losses in tiles around a ring of devices.

The scores are computed again, tile by tile.  A device keeps the gradient of
its queries; that of the passages travels one step behind them.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gtr_jax.losses import score_tiles, tile_stacks
from gtr_jax.losses.ring import Ring
from gtr_jax.losses.tiled_forward import Direction, Forward, Settings


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Pull:
  """What gives a direction's share of the gradient of a score.

  It is weight * exp(score - log_sum) - target, for scores other than the own.

  Attributes:
    weight: gradient of the loss of the row or column, by temperature.
    log_sum: log of the sum of exp(score).
    target: weight * label smoothing / number of others; None without.
  """

  weight: Float[Array, "*T B"]
  log_sum: Float[Array, "*T B"]
  target: Float[Array, "*T B"] | None


def backward(
  settings: Settings,
  ring: Ring,
  queries: Float[Array, "B D"],
  passages: Float[Array, "N D"],
  temperature: Float[Array, ""],
  keys: tile_stacks.Keys,
  results: Forward,
  row_gradients: Float[Array, "B"],
  column_gradients: Float[Array, "B"],
) -> tuple[Float[Array, "B D"], Float[Array, "N D"], Float[Array, "B"]]:
  """Gradients of a share's queries, passages and own cosines.

  The first two are complete; the last is for the margin's part in that of the
  temperature.
  """
  tiles = tile_stacks.even_tiles(keys.num_queries, settings.tile)
  first_place = ring.place() * keys.num_queries
  query_tiles = tile_stacks.stack_queries(queries, keys, first_place, tiles)
  passage_tiles = tile_stacks.stack_passages(passages, keys, first_place, tiles)
  rows = _pull(settings, results.rows, row_gradients / temperature)
  columns = _pull(settings, results.columns, column_gradients / temperature)
  own = _own_gradient(settings, results.own_scores, results.rows, rows)
  own += _own_gradient(settings, results.own_scores, results.columns, columns)
  columns = _stack_columns(columns, keys.num_passages, tiles)
  positives = passages[:: keys.num_passages]
  query_gradients = tiles.stack(own[:, None] * positives)
  row_tiles = jax.tree.map(tiles.stack, rows)

  def step(carry, _):
    passage_tiles, columns, query_gradients, gradients = carry
    next_tiles, next_columns = ring.pass_on((passage_tiles, columns))
    # What the devices before have found for the passages that are here now.
    gradients = ring.pass_on(gradients)
    query_gradients, found = _add_all_tiles(
      settings,
      temperature,
      (query_tiles, row_tiles, query_gradients),
      (passage_tiles, columns),
    )
    return (next_tiles, next_columns, query_gradients, gradients + found), None

  nothing = jnp.zeros_like(passage_tiles.embeddings)
  carry = (passage_tiles, columns, query_gradients, nothing)
  (_, _, query_gradients, gradients), _ = jax.lax.scan(
    step, carry, length=ring.size
  )
  gradients = tiles.unstack_passages(ring.pass_on(gradients))  # [B, K, D]
  gradients = gradients.at[:, 0].add(own[:, None] * queries)
  return (
    tiles.unstack(query_gradients),
    gradients.reshape(passages.shape),
    own,
  )


def _pull(
  settings: Settings, direction: Direction, weight: Float[Array, "B"]
) -> Pull:
  target = None
  if direction.num_others is not None and settings.label_smoothing:
    num_others = jnp.maximum(direction.num_others, 1)
    target = settings.label_smoothing * weight / num_others
  return Pull(weight, direction.log_sum, target)


def _own_gradient(
  settings: Settings,
  own_scores: Float[Array, "B"],
  direction: Direction,
  pull: Pull,
) -> Float[Array, "B"]:
  target = jnp.ones_like(own_scores)
  if pull.target is not None and direction.num_others is not None:
    target -= settings.label_smoothing * (direction.num_others > 0)
  return pull.weight * (jnp.exp(own_scores - pull.log_sum) - target)


def _stack_columns(
  columns: Pull, num_passages: int, tiles: tile_stacks.Tiles
) -> Pull:
  """For all passages; nothing pulls at the columns of hard negatives."""

  def stack(values, negative):
    groups = tile_stacks.with_negatives(values, num_passages, negative)
    return tiles.stack_passages(groups)

  return Pull(
    stack(columns.weight, 0.0),
    stack(columns.log_sum, jnp.inf),
    None if columns.target is None else stack(columns.target, 0.0),
  )


def _add_all_tiles(
  settings: Settings,
  temperature: Float[Array, ""],
  queries: tuple[score_tiles.Queries, Pull, Float[Array, "T B D"]],
  passages: tuple[score_tiles.Passages, Pull],
) -> tuple[Float[Array, "T B D"], Float[Array, "T N D"]]:
  """Adds to the gradients of the queries; finds those of the passages."""

  def add_row_of_tiles(found, row: tuple[Any, ...]):
    query_tile, row_tile, query_gradient = row

    def add_tile(carry, column: tuple[Any, ...]):
      query_gradient, found = carry
      number, passage_tile, column_tile = column
      scores = score_tiles.other_scores(
        query_tile, passage_tile, temperature, settings.precision
      )
      gradient = _score_gradient(scores, row_tile, column_tile)
      query_gradient += score_tiles.product(
        gradient, passage_tile.embeddings, (1, 0), settings.precision
      )
      passage_gradient = score_tiles.product(
        gradient, query_tile.embeddings, (0, 0), settings.precision
      )
      return (query_gradient, found.at[number].add(passage_gradient)), None

    numbers = jnp.arange(len(passages[0].places))
    (query_gradient, found), _ = jax.lax.scan(
      add_tile, (query_gradient, found), (numbers, *passages)
    )
    return found, query_gradient

  found, query_gradients = jax.lax.scan(
    add_row_of_tiles, jnp.zeros_like(passages[0].embeddings), queries
  )
  return query_gradients, found


def _score_gradient(
  scores: Float[Array, "B N"], rows: Pull, columns: Pull
) -> Float[Array, "B N"]:
  """Gradient of the loss by the cosines of one tile."""
  from_rows = jnp.exp(scores - rows.log_sum[:, None])
  from_columns = jnp.exp(scores - columns.log_sum[None, :])
  gradient = rows.weight[:, None] * from_rows
  gradient += columns.weight[None, :] * from_columns
  if rows.target is not None and columns.target is not None:
    target = rows.target[:, None] + columns.target[None, :]
    gradient -= jnp.where(scores > -jnp.inf, target, 0.0)
  return gradient
