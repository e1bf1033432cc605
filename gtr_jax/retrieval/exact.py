"""Exact search: every query against every passage, block by block."""

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Float32, Int

from gtr_jax import scoring
from gtr_jax.retrieval import ranking

# The scores of a query and a passage may differ in the last bit with the shape
# of the matrix product and, at the ragged edge of one, with the place in it:
# shapes are multiples of this, so that equal passages get equal scores.
_TILE = 128
_QUERY_ROWS = (1, 8, 64)
# Positions on the devices are int32, and the last block goes past the end.
_MAX_PASSAGES = 2_000_000_000

Best = tuple[Float[Array, "N Q R"], Int[Array, "N Q R"]]


class Rows(Protocol):
  """A matrix [C, D] of floats that is read a slice of rows at a time."""

  @property
  def shape(self) -> tuple[int, ...]: ...

  def __getitem__(self, rows: slice, /) -> np.ndarray: ...


@dataclass(frozen=True)
class ExactIndex:
  """All dot products in float32, and the highest of them.

  Ties are broken by place in the corpus, the first wins, whatever the blocks
  and devices.  Memory does not grow with the corpus: blocks are read and
  dropped, unless the whole corpus is small enough to stay on the devices.

  Attributes:
    embeddings: [C, D], an array or a store's.
    ids: [C], the passages' names.
    mesh: devices that share each block; None takes one.  Of a mesh over several
      processes each takes its own devices and searches everything.
    block_rows: passages scored at a time, on all devices together.
    query_rows: queries scored at a time.
    queries_per_pass: queries for which the corpus is read once.
    resident_bytes: a corpus up to this size in float32 stays on the devices.
  """

  embeddings: Rows
  ids: Sequence[str]
  mesh: Mesh | None = None
  block_rows: int = 16_384
  query_rows: int = 256
  queries_per_pass: int = 32_768
  resident_bytes: int = 2**30

  def __post_init__(self):
    shape = self.embeddings.shape
    if len(shape) != 2 or shape[0] != len(self.ids):
      raise ValueError(
        f"embeddings are {shape} and there are {len(self.ids)} ids; due is a"
        " row [D] for each id"
      )
    if shape[0] > _MAX_PASSAGES:
      raise ValueError(
        f"the corpus has {shape[0]} passages, one exact index holds at most"
        f" {_MAX_PASSAGES}: search it in parts"
      )
    for name in ("block_rows", "query_rows", "queries_per_pass"):
      if getattr(self, name) < 1:
        raise ValueError(f"{name} is {getattr(self, name)}: give 1 or more")

  def search(
    self,
    queries: Float32[np.ndarray, "Q D"],
    depth: int,
    query_ids: Sequence[str] | None = None,
    report: Callable[[int], None] | None = None,
  ) -> ranking.Ranking:
    """The `depth` best passages of each query, or all if there are fewer.

    Args:
      query_ids: names of the queries in the ranking; None numbers them from 0.
      report: called with numbers that add up to Q * C as the work proceeds.

    Raises:
      ValueError: another width than the corpus's, no depth, or embeddings
        that are not finite.
    """
    queries = np.asarray(queries, np.float32)
    num_passages, width = self.embeddings.shape
    if queries.ndim != 2 or queries.shape[1] != width:
      raise ValueError(
        f"queries are {queries.shape}, due is [Q, {width}]: encode both with"
        " one model"
      )
    if depth < 1:
      raise ValueError(f"depth is {depth}: give 1 or more")
    if not np.isfinite(queries).all():
      raise ValueError(
        "query embeddings hold NaN or infinity: the model has diverged, take"
        " another checkpoint"
      )
    depth = min(depth, num_passages)
    scores = np.empty((len(queries), depth), np.float32)
    positions = np.empty((len(queries), depth), np.int64)
    for start in range(0, len(queries) if depth else 0, self.queries_per_pass):
      rows = slice(start, start + self.queries_per_pass)
      scores[rows], positions[rows] = self._pass(queries[rows], depth, report)
    if not np.isfinite(scores).all():
      raise ValueError(
        "passage embeddings hold NaN or infinity: encode the corpus again"
      )
    if query_ids is None:
      query_ids = [str(row) for row in range(len(queries))]
    return ranking.Ranking(query_ids, self.ids, positions, scores)

  def _pass(
    self,
    queries: Float32[np.ndarray, "Q D"],
    depth: int,
    report: Callable[[int], None] | None,
  ) -> tuple[np.ndarray, np.ndarray]:
    """Scores and positions [Q, R]: one reading of the corpus."""
    groups = [
      jax.device_put(group, NamedSharding(self._mesh, PartitionSpec()))
      for group in _query_groups(queries, self.query_rows)
    ]
    best = [self._nothing(len(group), depth) for group in groups]
    num_passages = np.int32(self.embeddings.shape[0])
    for start, block in self._blocks():
      waited_for = best[-1]
      best = [
        _merge_block(old, group, block, start, num_passages, self._mesh)
        for old, group in zip(best, groups, strict=True)
      ]
      jax.block_until_ready(waited_for)  # At most two blocks are under way.
      if report is not None:
        rows = min(self._block_shape[0], int(num_passages - start))
        report(rows * len(queries))
    merged = [_merge_devices(*lists) for lists in best]
    scores, positions = zip(*jax.device_get(merged), strict=True)
    kept = slice(len(queries))
    return np.concatenate(scores)[kept], np.concatenate(positions)[kept]

  @functools.cached_property
  def _mesh(self) -> Mesh:
    if self.mesh is not None and not self.mesh.is_multi_process:
      return self.mesh
    devices = jax.local_devices()[: 1 if self.mesh is None else None]
    return jax.make_mesh(
      (len(devices),), ("data",), (AxisType.Auto,), devices=devices
    )

  @functools.cached_property
  def _block_shape(self) -> tuple[int, int]:
    """One shape for all blocks: of the corpus, if that is less than a block."""
    num_passages, width = self.embeddings.shape
    devices = self._mesh.size
    whole = _round_up(num_passages, devices * _TILE)
    return min(_round_up(self.block_rows, devices), whole), width

  def _blocks(self) -> Iterator[tuple[np.int32, jax.Array]]:
    """First position and embeddings of each block, zeros after the last."""
    num_passages, width = self.embeddings.shape
    if num_passages * width * 4 <= self.resident_bytes:
      return iter(self._resident_blocks)
    return self._read_blocks()

  @functools.cached_property
  def _resident_blocks(self) -> list[tuple[np.int32, jax.Array]]:
    return list(self._read_blocks())

  def _read_blocks(self) -> Iterator[tuple[np.int32, jax.Array]]:
    sharding = NamedSharding(self._mesh, PartitionSpec(self._mesh.axis_names))
    shape = self._block_shape
    for start in range(0, self.embeddings.shape[0], shape[0]):
      block = np.asarray(self.embeddings[slice(start, start + shape[0])])
      if len(block) < shape[0]:
        padding = np.zeros((shape[0] - len(block), shape[1]), block.dtype)
        block = np.concatenate([block, padding])
      yield np.int32(start), jax.device_put(block, sharding)

  def _nothing(self, num_queries: int, depth: int) -> Best:
    """The best of no passage: one list a query and device."""
    shape = (self._mesh.size, num_queries, depth)
    sharding = NamedSharding(self._mesh, PartitionSpec(self._mesh.axis_names))
    return (
      jax.device_put(np.full(shape, -np.inf, np.float32), sharding),
      jax.device_put(np.zeros(shape, np.int32), sharding),
    )


@functools.partial(jax.jit, static_argnames="mesh")
def _merge_block(
  best: Best,
  queries: Float[Array, "Q D"],
  block: Float[Array, "C D"],
  start: Int[Array, ""],
  num_passages: Int[Array, ""],
  mesh: Mesh,
) -> Best:
  """The best so far and those of a block; each device keeps its own list."""
  rows = PartitionSpec(mesh.axis_names)

  def on_device(scores, positions, queries, block, start, num_passages):
    first = start + jax.lax.axis_index(mesh.axis_names) * len(block)
    new_scores, new_positions = _best_of_block(
      queries, block, first, num_passages, scores.shape[-1]
    )
    # Older ones first: among equals `top_k` takes the first, and theirs are
    # the lower positions.
    scores = jnp.concatenate([scores[0], new_scores], axis=1)
    positions = jnp.concatenate([positions[0], new_positions], axis=1)
    scores, chosen = jax.lax.top_k(scores, best[0].shape[-1])
    return scores[None], jnp.take_along_axis(positions, chosen, axis=1)[None]

  everywhere = PartitionSpec()
  return jax.shard_map(
    on_device,
    mesh=mesh,
    in_specs=(rows, rows, everywhere, rows, everywhere, everywhere),
    out_specs=(rows, rows),
  )(*best, queries, block, start, num_passages)


def _best_of_block(
  queries: Float[Array, "Q D"],
  block: Float[Array, "C D"],
  first: Int[Array, ""],
  num_passages: Int[Array, ""],
  depth: int,
) -> tuple[Float[Array, "Q R"], Int[Array, "Q R"]]:
  positions = first + jnp.arange(len(block), dtype=jnp.int32)  # [C]
  scores = scoring.dot_products(queries, block.astype(jnp.float32))  # [Q, C]
  # `top_k` orders by bits on some backends, where -0.0 is below 0.0.
  scores = jnp.where(scores == 0.0, 0.0, scores)
  scores = jnp.where((positions < num_passages)[None], scores, -jnp.inf)
  scores, chosen = jax.lax.top_k(scores, min(depth, len(block)))
  return scores, positions[chosen]


@jax.jit
def _merge_devices(
  scores: Float[Array, "N Q R"], positions: Int[Array, "N Q R"]
) -> tuple[Float[Array, "Q R"], Int[Array, "Q R"]]:
  """The best of the devices' lists: highest score, then lowest position."""
  depth = scores.shape[2]

  def flat(lists):
    return lists.swapaxes(0, 1).reshape(lists.shape[1], -1)  # [Q, N * R]

  negative, positions = jax.lax.sort(
    (-flat(scores), flat(positions)), dimension=1, num_keys=2
  )
  return -negative[:, :depth], positions[:, :depth]


def _query_groups(
  queries: Float32[np.ndarray, "Q D"], query_rows: int
) -> Iterator[np.ndarray]:
  """Queries in groups of a few fixed sizes, zeros after the last."""
  sizes = [rows for rows in _QUERY_ROWS if rows < query_rows] + [query_rows]
  for start in range(0, len(queries), query_rows):
    group = queries[start : start + query_rows]
    size = next(rows for rows in sizes if rows >= len(group))
    yield np.pad(group, ((0, size - len(group)), (0, 0)))


def _round_up(number: int, multiple: int) -> int:
  return -(-number // multiple) * multiple
