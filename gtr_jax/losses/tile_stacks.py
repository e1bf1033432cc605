"""A device's share of a batch, cut into stacks of equal tiles, and back."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from gtr_jax.losses import score_tiles


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Keys:
  """What the masks of a batch, or of a device's share of it, compare."""

  queries: Int[Array, "B 2"]
  passages: Int[Array, "B K 2"]
  positives: Int[Array, "B P 2"]

  @property
  def num_queries(self) -> int:
    return self.passages.shape[0]

  @property
  def num_passages(self) -> int:
    """Passages per query: K."""
    return self.passages.shape[1]


@dataclasses.dataclass(frozen=True)
class Tiles:
  """`num_rows` in `number` tiles of `size`; the last may have rows to spare."""

  num_rows: int
  number: int
  size: int

  def stack(self, rows: jax.Array) -> jax.Array:
    """[B, ...] -> [T, t, ...]; zeros where rows are missing."""
    spare = self.number * self.size - self.num_rows
    rows = jnp.pad(rows, [(0, spare)] + [(0, 0)] * (rows.ndim - 1))
    return rows.reshape(self.number, self.size, *rows.shape[1:])

  def unstack(self, stack: jax.Array) -> jax.Array:
    """The inverse of `stack`."""
    return stack.reshape(-1, *stack.shape[2:])[: self.num_rows]

  def stack_passages(self, groups: jax.Array) -> jax.Array:
    """[B, K, ...] -> [T, K * t, ...]; in a tile all positives stand first."""
    stack = self.stack(groups).swapaxes(1, 2)  # [T, K, t, ...]
    return stack.reshape(self.number, -1, *groups.shape[2:])

  def unstack_passages(self, stack: jax.Array) -> jax.Array:
    """The inverse of `stack_passages`."""
    groups = stack.reshape(self.number, -1, self.size, *stack.shape[2:])
    return self.unstack(groups.swapaxes(1, 2))


def even_tiles(num_rows: int, at_most: int) -> Tiles:
  """As few tiles of `at_most` rows as do, and none much emptier than others."""
  number = -(-num_rows // at_most)
  return Tiles(num_rows, number, -(-num_rows // number))


def with_negatives(
  positives: jax.Array, num_passages: int, value: float
) -> jax.Array:
  """[B] -> [B, K]: a constant for the hard negatives of each positive."""
  shape = (len(positives), num_passages - 1)
  rest = jnp.full(shape, value, positives.dtype)
  return jnp.concatenate([positives[:, None], rest], axis=1)


def stack_queries(
  embeddings: Float[Array, "B D"],
  keys: Keys,
  first_place: Int[Array, ""],
  tiles: Tiles,
) -> score_tiles.Queries:
  """All queries of the share; the first one's place in the batch is given."""
  places = first_place + jnp.arange(tiles.num_rows, dtype=jnp.int32)

  def key(hashes: Int[Array, "B 2"]) -> score_tiles.Key:
    return tiles.stack(hashes[:, 0]), tiles.stack(hashes[:, 1])

  return score_tiles.Queries(
    embeddings=tiles.stack(embeddings),
    places=tiles.stack(places + 2) - 2,  # Rows to spare, zeros, become -2.
    key=key(keys.queries),
    positives=tuple(map(key, keys.positives.swapaxes(0, 1))),
  )


def stack_passages(
  embeddings: Float[Array, "N D"],
  keys: Keys,
  first_place: Int[Array, ""],
  tiles: Tiles,
) -> score_tiles.Passages:
  """All passages of the share, in the tiles of their queries."""
  places = first_place + jnp.arange(tiles.num_rows, dtype=jnp.int32)

  def of_positives(values: Int[Array, "B"], negative: int) -> jax.Array:
    groups = with_negatives(values, keys.num_passages, negative)
    return tiles.stack_passages(groups)

  groups = embeddings.reshape(*keys.passages.shape[:2], -1)  # [B, K, D]
  return score_tiles.Passages(
    embeddings=tiles.stack_passages(groups),
    places=of_positives(places, -1),
    key=(
      tiles.stack_passages(keys.passages[..., 0]),
      tiles.stack_passages(keys.passages[..., 1]),
    ),
    query_key=(
      of_positives(keys.queries[:, 0], 0),
      of_positives(keys.queries[:, 1], 0),
    ),
  )
