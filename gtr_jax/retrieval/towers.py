"""Token ids to embeddings on one device or several."""

import collections
import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Float32, Int, Int32

from gtr_jax import packing, partitioning
from gtr_jax.retrieval import batching
from gtr_jax.types import Params, TowerName

# (params, tokens [r, L], segments [r, L], S) to embeddings [r, S, D].  A row
# holds S texts at most; segments say which, from 1, and 0 is padding.
TowerFunction = Callable[
  [Params, Int[Array, "r L"], Int[Array, "r L"], int], Float[Array, "r S D"]
]
Report = Callable[[int], None]
Embeddings = Float32[np.ndarray, "n D"]

# With one batch computed and one waiting, the devices never wait for the host.
_MAX_UNDER_WAY = 2
_BATCH_TOKENS = 8_192
# What the layers of a small model hand on stays in a CPU's cache.
_CPU_BATCH_TOKENS = 2_048


@dataclass(frozen=True)
class Towers:
  """Both towers with their parameters, fed in batches of fixed shapes.

  Attributes:
    functions: for "query" and "passage".  With one function for both, what one
      has compiled serves the other.
    params: of the towers; those not yet on the mesh are copied to each device.
    batch_tokens: tokens in a batch, padding included, on each device; None is
      8,192, and 2,048 on a CPU.
    mesh: devices that share each batch along its "data" axis; None takes one.
    packs: whether texts may share rows, where that is less work.
    rules: by which the parameters are spread over the mesh, if they are.
  """

  functions: Mapping[TowerName, TowerFunction]
  params: Params = field(repr=False)
  batch_tokens: int | None = None
  mesh: Mesh | None = None
  packs: bool = True
  rules: partitioning.Rules = partitioning.STANDARD_RULES

  def __post_init__(self):
    if self.batch_tokens is not None and self.batch_tokens < 1:
      raise ValueError(f"batch_tokens is {self.batch_tokens}: give 1 or more")

  def plan(self, rows: Sequence[np.ndarray]) -> list[batching.Batch]:
    lengths = np.array([len(row) for row in rows], np.int64)
    num_devices = 1 if self.mesh is None else partitioning.num_shares(self.mesh)
    room = batching.Room(
      self.batch_tokens or _batch_tokens(self.mesh), num_devices
    )
    return batching.plan(lengths, room, self.packs)

  def encode(
    self,
    rows: Sequence[np.ndarray],
    batches: Sequence[batching.Batch],
    tower: TowerName,
    meanwhile: Callable[[], None] = lambda: None,
    report: Report | None = None,
  ) -> Embeddings:
    """Embeddings of rows of ids, in their order; zeros for a row of none.

    Args:
      meanwhile: called after each batch is sent to the devices.
    """
    if not batches:
      return self.nothing(tower, len(rows))
    texts = packing.from_arrays(rows)
    results = self._results(texts, batches, tower, meanwhile)
    return gathered(results, len(rows), report)

  def _results(
    self,
    texts: packing.Texts,
    batches: Sequence[batching.Batch],
    tower: TowerName,
    meanwhile: Callable[[], None],
  ) -> Iterator[tuple[batching.Batch, jax.Array]]:
    under_way: collections.deque[tuple[batching.Batch, jax.Array]]
    under_way = collections.deque()
    for batch in batches:
      tokens, segments = map(self._on_devices, batching.fill(batch, texts))
      with self._context():
        result = self._compiled[tower](
          self._placed, tokens, segments, batch.slots.shape[1]
        )
      under_way.append((batch, result))
      meanwhile()
      if len(under_way) > _MAX_UNDER_WAY:
        yield under_way.popleft()
    yield from under_way

  @functools.cached_property
  def _compiled(self) -> dict[TowerName, Callable]:
    whole = None
    if self.mesh is not None and self.mesh.is_multi_process:
      # Else devices of other processes hold rows that this one cannot read.
      whole = NamedSharding(self.mesh, PartitionSpec())
    specs = () if self.mesh is None else self._specs
    return {
      name: _compile(tower, self.mesh, specs, whole)
      for name, tower in self.functions.items()
    }

  @property
  def _specs(self) -> tuple[PartitionSpec, ...]:
    return tuple(x.sharding.spec for x in jax.tree.leaves(self._placed))

  def _context(self) -> contextlib.AbstractContextManager[None]:
    if self.mesh is None:
      return contextlib.nullcontext()
    return partitioning.in_use(self.mesh, self.rules)

  @functools.cached_property
  def _placed(self) -> Params:
    """The parameters where they are computed with, copied once."""
    if self.mesh is None:
      return jax.device_put(self.params)
    devices = set(self.mesh.devices.flat)
    everywhere = NamedSharding(self.mesh, PartitionSpec())

    def placed(leaf):
      sharding = getattr(leaf, "sharding", None)
      named = isinstance(sharding, NamedSharding)
      if named and sharding.device_set == devices:
        return leaf
      return jax.device_put(leaf, everywhere)

    return jax.tree.map(placed, self.params)

  def _on_devices(self, tokens: Int32[np.ndarray, "n L"]) -> jax.Array:
    if self.mesh is None:
      return jax.device_put(tokens)
    rows = NamedSharding(self.mesh, PartitionSpec(partitioning.BATCH_AXES))
    return jax.make_array_from_callback(tokens.shape, rows, tokens.__getitem__)

  def nothing(self, tower: TowerName, num_texts: int = 0) -> Embeddings:
    """Zeros [n, D]: embeddings of texts without tokens."""
    tokens = jax.ShapeDtypeStruct((1, batching.LENGTHS[0]), np.int32)
    row = jax.eval_shape(
      lambda params, row: self.functions[tower](params, row, row, 1),
      self.params,
      tokens,
    )
    return np.zeros((num_texts, row.shape[-1]), np.float32)


def _batch_tokens(mesh: Mesh | None) -> int:
  device = jax.devices()[0] if mesh is None else mesh.devices.flat[0]
  return _CPU_BATCH_TOKENS if device.platform == "cpu" else _BATCH_TOKENS


@functools.lru_cache(maxsize=16)
def _compile(
  tower: TowerFunction,
  mesh: Mesh | None,
  specs: tuple[PartitionSpec, ...],
  whole: NamedSharding | None,
) -> TowerFunction:
  """The tower under jit, each device with its own rows; the same for the same.

  Args:
    specs: of the parameters' arrays, in their order.
    whole: where the result is; None leaves rows where they are.
  """

  def encode(params, tokens, segments, num_texts):
    def on_rows(params, tokens, segments):
      return tower(params, tokens, segments, num_texts)

    if mesh is None:
      return on_rows(params, tokens, segments)
    tree = jax.tree.unflatten(jax.tree.structure(params), specs)
    on_own_rows = partitioning.on_own_rows(on_rows, tree, mesh)
    return on_own_rows(params, tokens, segments)

  return jax.jit(encode, static_argnums=3, out_shardings=whole)


def gathered(
  results: Iterable[tuple[batching.Batch, Any]],
  num_rows: int,
  report: Report | None,
) -> Embeddings:
  """Embeddings in the order of their texts, zeros for those of no token.

  Args:
    results: batches, one at least, and their embeddings [r, S, D].
    num_rows: texts in all.
    report: called with the number of texts of each batch.

  Raises:
    ValueError: NaN or infinity.
  """
  batches, parts = [], []
  for batch, result in results:
    batches.append(batch)
    parts.append(np.asarray(result, np.float32)[batch.slots >= 0])
    if report is not None:
      report(len(batch.texts))
  embeddings = np.zeros((num_rows, parts[0].shape[1]), np.float32)
  for batch, part in zip(batches, parts, strict=True):
    embeddings[batch.texts] = part
  _check_finite(embeddings)
  return embeddings


def _check_finite(embeddings: Embeddings) -> None:
  num_bad = int((~np.isfinite(embeddings)).any(axis=1).sum())
  if num_bad:
    raise ValueError(
      f"the model gives NaN or infinity for {num_bad} of {len(embeddings)}"
      " texts: it has diverged, take another checkpoint"
    )
