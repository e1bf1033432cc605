"""Both towers over a batch, in which each device encodes its own texts."""

import dataclasses
import math
import typing
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.sharding import PartitionSpec
from jaxtyping import Array, Float, Int

from gtr_jax import partitioning
from gtr_jax.models import dual_encoder, t5_encoder
from gtr_jax.objectives import chunks
from gtr_jax.types import Batch, Params, TowerName

_TOWERS: tuple[TowerName, ...] = typing.get_args(TowerName)
Embeddings = tuple[Float[Array, "B D"], Float[Array, "N D"]]


@dataclasses.dataclass(frozen=True)
class Towers:
  """A dual encoder as a function of parameters and a batch, for training.

  On a mesh it is manual over the axes of the batch: parameters that are spread
  over them are gathered where they are used, gradients of all chunks are summed
  on each device, and reduced over the devices once.  The axis "model" is left
  to XLA.

  Attributes:
    model: the dual encoder.
    num_chunks: each device encodes the texts of its larger tower in this many
      pieces, those of the other in as many fewer as it has fewer tokens.
    scan_layers: loops over the layers, which compiles once, not once a layer.
  """

  model: nn.Module
  num_chunks: int = 1
  scan_layers: bool = False

  def init(self, rng: jax.Array, batch: Batch) -> Params:
    """Parameters in boxes that carry their logical axis names."""
    tokens = [
      batch[name][:1].reshape(-1, batch[name].shape[-1])
      for name in (_kind("query", batch), _kind("passage", batch))
    ]
    return self.model.init(rng, *tokens)["params"]

  def __call__(
    self, params: Params, batch: Batch, rng: jax.Array | None
  ) -> Embeddings:
    """Queries [B, D] and passages [N, D], both of unit length.

    Args:
      params: parameters; names that the model does not know are ignored.
      batch: see `types.Batches`; padded or packed.
      rng: key of the dropout, None for none.  Each device draws its own.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or partitioning.num_shares(mesh) == 1:
      return self._own_share(params, batch, rng)
    known = jax.eval_shape(self.init, jax.random.key(0), batch)
    params = {name: params[name] for name in known}
    specs = self._specs(known, mesh)
    axes = partitioning.batch_axes(mesh)
    rows = PartitionSpec(axes)

    def on_a_device(params, batch, rng):
      if rng is not None:
        place = jax.lax.axis_index(axes)
        rng = jax.random.fold_in(rng, place)
      # Here, and not where each chunk uses them: the gradient is then summed
      # over the devices after the chunks, once.
      return self._own_share(_varying(params, specs, axes), batch, rng)

    return jax.shard_map(
      on_a_device,
      in_specs=(specs, rows, PartitionSpec()),
      out_specs=(rows, rows),
      axis_names=set(axes),
    )(params, dict(batch), rng)

  def _specs(self, boxed: Params, mesh: jax.sharding.AbstractMesh) -> Any:
    rules = nn.get_logical_axis_rules() or partitioning.STANDARD_RULES
    return jax.tree.map(
      partitioning.on_batch_axes,
      partitioning.specs(boxed, mesh, rules),
      is_leaf=lambda leaf: isinstance(leaf, PartitionSpec),
    )

  def _own_share(
    self, params: Params, batch: Batch, rng: jax.Array | None
  ) -> Embeddings:
    if self.scan_layers:
      params = t5_encoder.stack_layers(params)
    query_rng, passage_rng = (
      (None, None) if rng is None else jax.random.split(rng)
    )
    return (
      self._encode(params, "query", batch, query_rng),
      self._encode(params, "passage", batch, passage_rng),
    )

  def _encode(
    self, params: Params, tower: TowerName, batch: Batch, rng: jax.Array | None
  ) -> Float[Array, "N D"]:
    kind = _kind(tower, batch)
    packed = kind.endswith("rows")
    tokens = batch[kind].reshape(-1, batch[kind].shape[-1])
    texts = batch[f"{tower}_texts"] if packed else None  # [r, S]
    segments = batch[f"{tower}_segments"] if packed else None

    def encode(rows, index):
      tokens, segments = rows
      return dual_encoder.encode(
        self.model,
        params,
        tokens,
        tower,
        None if rng is None else {"dropout": jax.random.fold_in(rng, index)},
        segments,
        1 if texts is None else texts.shape[1],
      )

    embeddings = chunks.encode_in_chunks(
      encode, (tokens, segments), self._num_chunks(tower, batch)
    )
    if texts is None:
      return embeddings
    num_texts = batch[f"{tower}_keys"][..., 0].size
    return in_batch_order(embeddings, texts, num_texts)

  def _num_chunks(self, tower: TowerName, batch: Batch) -> int:
    """Fewer for the tower with fewer tokens: its chunks are as large.

    Each chunk gathers shared parameters and adds its gradient to all of them.
    """
    cells = {name: batch[_kind(name, batch)].size for name in _TOWERS}
    return math.ceil(self.num_chunks * cells[tower] / max(cells.values()))


def in_batch_order(
  slots: Float[Array, "r S D"], texts: Int[Array, "r S"], num_texts: int
) -> Float[Array, "n D"]:
  """Embeddings of packed rows in the order of their texts.

  Args:
    slots: embeddings of the texts of each row.
    texts: which text stands there; negative for none.
    num_texts: n; a text that stands nowhere gets zeros.
  """
  flat = texts.reshape(-1)
  nowhere = len(flat)
  # A negative index would count from the end.
  targets = jnp.where(flat < 0, num_texts, flat)
  places = jnp.full(num_texts, nowhere, jnp.int32)
  places = places.at[targets].set(jnp.arange(nowhere), mode="drop")
  return (
    slots.reshape(nowhere, -1)
    .at[places]
    .get(mode="fill", fill_value=0.0, unique_indices=True)
  )


def _kind(tower: TowerName, batch: Batch) -> str:
  """Name of the tower's tokens in the batch, padded or packed."""
  packed = f"{tower}_rows"
  return packed if packed in batch else f"{tower}_tokens"


def _varying(params: Params, specs: Any, axes: tuple[str, ...]) -> Params:
  """Parameters that each device may treat as its own.

  Args:
    specs: of the parameters.
    axes: of the mesh, over which the batch is spread.
  """

  def one(spec, x):
    shared = partitioning.axes_of(spec)
    whole = tuple(axis for axis in axes if axis not in shared)
    return jax.lax.pcast(x, whole, to="varying") if whole else x

  return jax.tree.map(
    one, specs, params, is_leaf=lambda leaf: isinstance(leaf, PartitionSpec)
  )
