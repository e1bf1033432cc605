"""One tile of the score matrix: some queries against some passages."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

# Hash of the id, hash of the text; 0 means none and equals nothing.  Two
# vectors, because a TPU pads the last axis of an array [B, 2] to 128.
Key = tuple[Int[Array, "*T B"], Int[Array, "*T B"]]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Queries:
  """Rows of the score matrix: one tile, or a stack of T tiles.

  Attributes:
    embeddings: of the queries.
    places: in the global batch; -2 for a row that only fills up its tile.
    key: of the query.
    positives: keys of its known positives.
  """

  embeddings: Float[Array, "*T B D"]
  places: Int[Array, "*T B"]
  key: Key
  positives: tuple[Key, ...]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Passages:
  """Columns of the score matrix: positives of a tile, then its hard negatives.

  Attributes:
    embeddings: of the passages.
    places: of the query whose positive it is; -1 for a hard negative.
    key: of the passage; zeros where there is none.
    query_key: of the query whose positive it is; zeros for a hard negative.
  """

  embeddings: Float[Array, "*T N D"]
  places: Int[Array, "*T N"]
  key: Key
  query_key: Key


def product(
  a: Float[Array, "..."],
  b: Float[Array, "..."],
  axes: tuple[int, int],
  precision: jax.lax.PrecisionLike,
) -> Float[Array, "X Y"]:
  """Matrix product over one axis of each, summed in float32."""
  dimensions = (((axes[0],), (axes[1],)), ((), ()))
  return jax.lax.dot_general(
    a, b, dimensions, precision, preferred_element_type=jnp.float32
  )


def other_scores(
  queries: Queries,
  passages: Passages,
  temperature: Float[Array, ""],
  precision: jax.lax.PrecisionLike,
) -> Float[Array, "B N"]:
  """Cosines by temperature; -inf for the own positive and what is masked."""
  cosines = product(queries.embeddings, passages.embeddings, (1, 1), precision)
  counted = ~_excluded(queries, passages)
  return jnp.where(counted, cosines / temperature, -jnp.inf)


def _excluded(queries: Queries, passages: Passages) -> Bool[Array, "B N"]:
  """The rules of `false_negatives.excluded`, the own positive among them."""
  missing = (passages.key[0] == 0) & (passages.key[1] == 0)
  fills_up = queries.places < 0
  mask = missing[None, :] | fills_up[:, None]
  mask |= queries.places[:, None] == passages.places[None, :]
  mask |= _same(queries.key, passages.query_key)
  for positive in queries.positives:
    mask |= _same(positive, passages.key)
  return mask


def _same(a: Key, b: Key) -> Bool[Array, "X Y"]:
  """False where both are none: `b` may hold zeros, so `a` is asked."""
  ids, texts = (
    (x[:, None] == y[None, :]) & (x != 0)[:, None]
    for x, y in zip(a, b, strict=True)
  )
  return ids | texts
