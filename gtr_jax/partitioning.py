"""From logical axis names to devices: the mesh, the rules, the shardings.

A mesh has three axes.  The batch is spread over "slice" (TPU slices, joined by
the data centre's network) and "data" (devices of a slice); "model" spreads
matrices, so that several devices compute one text together.  Which parameter is
spread over what, the rules say.
"""

import contextlib
import dataclasses
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import jax
import numpy as np
from flax import linen as nn
from flax.linen import spmd
from jax.sharding import (
  AbstractMesh,
  AxisType,
  Mesh,
  NamedSharding,
  PartitionSpec,
)

from gtr_jax.types import Batch

AXES = ("slice", "data", "model")
MODEL_AXIS = "model"
BATCH_AXES = ("slice", "data")
MeshAxes: TypeAlias = str | tuple[str, ...] | None
AnyMesh: TypeAlias = Mesh | AbstractMesh
Rules: TypeAlias = Sequence[tuple[str, MeshAxes]]

# T5X `standard_logical_axis_rules`, one-dimensional activations and
# parameters, and T5X Retrieval's `affinity` for the projection.  With
# ("embed", "data") instead, parameters are spread over the batch's devices too
# and gathered layer by layer (FSDP).
STANDARD_RULES: Rules = (
  ("batch", BATCH_AXES),
  ("vocab", "model"),
  ("mlp", "model"),
  ("heads", "model"),
  ("joined_kv", "model"),
  ("embed", None),
  ("kv", None),
  ("length", None),
  ("relpos_buckets", None),
  ("affinity", None),
)


@dataclasses.dataclass(frozen=True)
class Layout:
  """How devices share the work, before it is known which devices.

  Attributes:
    model_parallel: devices that compute one text together.
    num_slices: groups of devices joined by the data centre's network.
    rules: logical axes to mesh axes, where they differ from the standard ones:
      (("embed", "data"),) spreads the parameters over the batch's devices.
    topology: the devices that this is made for, of each slice: "v5e:4x4", a
      TPU, or "gpu:8"; None for whatever devices there are.
  """

  model_parallel: int = 1
  num_slices: int = 1
  rules: Rules = ()
  topology: str | None = None

  def __post_init__(self):
    known = dict(STANDARD_RULES)
    for name, axes in self.rules:
      if name not in known:
        raise ValueError(
          f"LOGICAL_AXIS_RULES names the axis {name!r}; the logical axes are"
          f" {', '.join(known)}"
        )
      strange = set(_mesh_axes(axes)) - set(AXES)
      if strange:
        raise ValueError(
          f"LOGICAL_AXIS_RULES gives {name} to {', '.join(sorted(strange))};"
          f" the axes of the mesh are {', '.join(AXES)}"
        )

  def num_chips(self) -> int | None:
    """Devices of a slice, as the topology tells."""
    if self.topology is None:
      return None
    name, _, sizes = self.topology.partition(":")
    if not name or not re.fullmatch(r"[1-9]\d*(x[1-9]\d*)*", sizes):
      raise ValueError(
        f"TOPOLOGY is {self.topology!r}; it must be a kind and its sizes, such"
        ' as "v5e:4x4", or None'
      )
    return math.prod(map(int, sizes.split("x")))

  def all_rules(self) -> Rules:
    """The standard rules with this layout's own in their place."""
    return tuple({**dict(STANDARD_RULES), **dict(self.rules)}.items())

  def mesh(self, devices: Sequence[Any] | None = None) -> Mesh:
    """A ("slice", "data", "model") mesh over the devices, by default over all.

    The axes are Auto: with Explicit ones, JAX's default, a Linen embedding
    look-up fails.

    Raises:
      ValueError: if the numbers do not divide the number of devices.
    """
    devices = jax.devices() if devices is None else list(devices)
    due = (self.num_chips() or 0) * self.num_slices
    if due and due != len(devices):
      raise ValueError(
        f"TOPOLOGY is {self.topology} and NUM_SLICES {self.num_slices}, which"
        f" are {due} devices; here are {len(devices)}: choose another file of"
        " meshes/, or set TOPOLOGY to None"
      )
    for name, number in (
      ("MODEL_PARALLEL", self.model_parallel),
      ("NUM_SLICES", self.num_slices),
    ):
      if number < 1 or len(devices) % number:
        raise ValueError(
          f"{name} is {number}, which does not divide the {len(devices)}"
          " devices; choose a divisor"
        )
    per_slice = len(devices) // self.num_slices
    if per_slice % self.model_parallel:
      raise ValueError(
        f"MODEL_PARALLEL is {self.model_parallel}, which does not divide the"
        f" {per_slice} devices of a slice; choose a divisor"
      )
    shape = (per_slice // self.model_parallel, self.model_parallel)
    slices = [
      jax.make_mesh(shape, AXES[1:], devices=part).devices
      for part in _slices(devices, self.num_slices)
    ]
    return Mesh(np.stack(slices), AXES, axis_types=(AxisType.Auto,) * 3)


def _slices(devices: Sequence[Any], num_slices: int) -> list[list[Any]]:
  """The devices of each slice; where devices know no slices, equal runs."""
  slice_of = {d: getattr(d, "slice_index", None) for d in devices}
  numbers = sorted({n for n in slice_of.values() if n is not None})
  if num_slices > 1 and len(numbers) == num_slices:
    return [[d for d in devices if slice_of[d] == n] for n in numbers]
  size = len(devices) // num_slices
  return [list(devices[i * size : (i + 1) * size]) for i in range(num_slices)]


def num_shares(mesh: AnyMesh) -> int:
  """Parts of a batch that go to different devices."""
  return math.prod(mesh.shape[axis] for axis in batch_axes(mesh))


def batch_axes(mesh: AnyMesh) -> tuple[str, ...]:
  """The axes that the batch is spread over: BATCH_AXES of our own meshes.

  Another library's mesh may name them otherwise, or have one of them; its model
  axis must be called "model".
  """
  return tuple(name for name in mesh.axis_names if name != MODEL_AXIS)


def _is_boxed(leaf) -> bool:
  return isinstance(leaf, nn.LogicallyPartitioned)


def _mesh_axes(axes: MeshAxes) -> tuple[str, ...]:
  return (axes,) if isinstance(axes, str) else tuple(axes or ())


def specs(boxed: Any, mesh: AnyMesh, rules: Rules = STANDARD_RULES) -> Any:
  """One PartitionSpec per array of `boxed`, with the boxes removed.

  A leaf whose rank differs from its axis names is replicated: Adafactor keeps
  row and column moments, small ones, under the names of the matrix they came
  from.  A dimension that its mesh axes do not divide stays whole, and so does
  a vector that the batch's devices would share: to gather it would cost more
  than it saves.
  """

  def one(leaf):
    if not _is_boxed(leaf) or len(leaf.names) != leaf.value.ndim:
      return PartitionSpec()
    axes = spmd.logical_to_mesh_axes(leaf.names, rules) or ()
    return PartitionSpec(
      *(
        fitting(axis, size, leaf.value.ndim, mesh)
        for axis, size in zip(axes, leaf.value.shape, strict=True)
      )
    )

  return jax.tree.map(one, boxed, is_leaf=_is_boxed)


def fitting(axes: MeshAxes, size: int, rank: int, mesh: AnyMesh) -> MeshAxes:
  """`axes` if they can share a dimension of this size, else None."""
  names = _mesh_axes(axes)
  if rank == 1 and set(names) & set(batch_axes(mesh)):
    return None
  return None if size % math.prod(mesh.shape[n] for n in names) else axes


def shardings(boxed: Any, mesh: Mesh, rules: Rules = STANDARD_RULES) -> Any:
  """`specs` as NamedShardings."""
  return jax.tree.map(
    lambda spec: NamedSharding(mesh, spec),
    specs(boxed, mesh, rules),
    is_leaf=lambda leaf: isinstance(leaf, PartitionSpec),
  )


def on_batch_axes(spec: PartitionSpec) -> PartitionSpec:
  """What of a spec concerns the axes of the batch."""
  kept = [
    tuple(axis for axis in _mesh_axes(axes) if axis != MODEL_AXIS) or None
    for axes in spec
  ]
  return PartitionSpec(*kept)


def axes_of(spec: PartitionSpec) -> set[str]:
  """The axes of the mesh that a spec names."""
  return {name for axes in spec for name in _mesh_axes(axes)}


def gathered(
  value: jax.Array, shape: Sequence[int], axes: Sequence[str]
) -> jax.Array:
  """A whole parameter, of which this device holds a share.

  Outside a `jax.shard_map` parameters are whole and nothing is done.  Inside,
  its gradient is summed over the devices and spread in one operation.

  Args:
    value: the share.
    shape: of the whole.
    axes: its logical axes.

  Raises:
    ValueError: a parameter of another shape.
  """
  if value.shape == tuple(shape):
    return value
  rules = nn.get_logical_axis_rules() or STANDARD_RULES
  mesh_axes = spmd.logical_to_mesh_axes(tuple(axes), rules) or ()
  mesh = jax.sharding.get_abstract_mesh()
  automatic = PartitionSpec(
    *(MODEL_AXIS if MODEL_AXIS in _mesh_axes(a) else None for a in mesh_axes)
  )
  for dim, (have, due) in enumerate(zip(value.shape, shape, strict=True)):
    if have == due:
      continue
    names = _mesh_axes(mesh_axes[dim])
    if not names or have * math.prod(mesh.shape[n] for n in names) != due:
      raise ValueError(
        f"a parameter with the axes {', '.join(axes)} is {value.shape}, due is"
        f" {tuple(shape)}"
      )
    # Said before and after, or the model axis would be gathered as well.
    value = jax.lax.with_sharding_constraint(value, automatic)
    value = jax.lax.all_gather(value, names, axis=dim, tiled=True)
    value = jax.lax.with_sharding_constraint(value, automatic)
  return value


def process_share(mesh: Mesh) -> tuple[int, int]:
  """Which part of each global batch this process reads, and of how many parts.

  Processes whose devices share a copy of the model read the same part.

  Raises:
    ValueError: if the parts of two processes overlap but differ.
  """
  size = num_shares(mesh)
  rows = NamedSharding(mesh, PartitionSpec(BATCH_AXES))
  places: dict[int, set[int]] = {}
  for device, (place,) in rows.devices_indices_map((size,)).items():
    places.setdefault(device.process_index, set()).add(place.start or 0)
  parts = sorted(set(map(frozenset, places.values())), key=min)
  if sum(map(len, parts)) != size or len(set(map(len, parts))) > 1:
    raise ValueError(
      f"MODEL_PARALLEL gives {len(places)} processes unequal or overlapping"
      " parts of the batch; choose one that divides the devices of a process,"
      " or a multiple of them"
    )
  return parts.index(frozenset(places[jax.process_index()])), len(parts)


@contextlib.contextmanager
def in_use(mesh: Mesh, rules: Rules = STANDARD_RULES) -> Iterator[None]:
  """A mesh and its rules, for what is traced or run in the block."""
  with jax.set_mesh(mesh), nn.logical_axis_rules(rules):
    yield


def on_own_rows(function: Callable, specs: Any, mesh: Mesh) -> Callable:
  """A function of parameters and rows, run by each device on its own rows.

  Parameters that are spread over the batch's devices are gathered where they
  are used, so that no device ever holds all of them.

  Args:
    function: (params, *arrays [n, ...]) → array [n, ...], row by row.
    specs: of the parameters.
    mesh: the devices; the result must be traced with `in_use`.
  """
  if num_shares(mesh) == 1:
    return function
  rows = PartitionSpec(BATCH_AXES)
  specs = jax.tree.map(
    on_batch_axes, specs, is_leaf=lambda leaf: isinstance(leaf, PartitionSpec)
  )
  on_each = jax.shard_map(
    lambda params, arrays: function(params, *arrays),
    mesh=mesh,
    in_specs=(specs, rows),
    out_specs=rows,
    axis_names=set(BATCH_AXES),
  )
  return lambda params, *arrays: on_each(params, arrays)


def to_global(batch: Mapping[str, np.ndarray], mesh: Mesh) -> Batch:
  """Joins this host's rows with every other host's into global arrays."""
  rows = NamedSharding(mesh, PartitionSpec(BATCH_AXES))
  return {
    name: jax.make_array_from_process_local_data(rows, array)
    for name, array in batch.items()
  }
