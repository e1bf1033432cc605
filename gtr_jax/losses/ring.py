"""All devices of the mesh in context, one behind the other in a ring."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec
from jaxtyping import Array, Int


@dataclasses.dataclass(frozen=True)
class Ring:
  """Devices along all axes of a mesh; without a mesh, the one there is.

  The model axis is among them: what is computed here is computed once.

  Attributes:
    axes: names of the mesh axes; the last one's neighbours are neighbours.
    size: number of devices.
  """

  axes: tuple[str, ...]
  size: int

  def place(self) -> Int[Array, ""]:
    """Which device of the ring this is; inside `on_each`."""
    if self.size == 1:
      return jnp.int32(0)
    return jax.lax.axis_index(self.axes)

  def pass_on(self, blocks: Any) -> Any:
    """What the device before had; inside `on_each`.

    Arrays of 4-byte numbers.  Those of one shape travel as one message: a TPU
    has but few under way while it computes.
    """
    if self.size == 1:
      return blocks
    arrays, structure = jax.tree.flatten(blocks)
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for index, array in enumerate(arrays):
      by_shape.setdefault(array.shape, []).append(index)
    for indices in by_shape.values():
      alike = [arrays[index] for index in indices]
      for index, array in zip(indices, self._pass_alike(alike), strict=True):
        arrays[index] = array
    return jax.tree.unflatten(structure, arrays)

  def _pass_alike(self, arrays: list[jax.Array]) -> list[jax.Array]:
    neighbours = [(i, (i + 1) % self.size) for i in range(self.size)]
    send = lambda block: jax.lax.ppermute(block, self.axes, neighbours)
    if len(arrays) == 1:
      return [send(arrays[0])]
    cast = jax.lax.bitcast_convert_type
    message = send(jnp.stack([cast(array, jnp.int32) for array in arrays]))
    return [
      cast(bits, array.dtype)
      for bits, array in zip(message, arrays, strict=True)
    ]

  def on_each(self, function: Callable[..., Any], *args: Any) -> Any:
    """Runs `function` on each device's share of the arrays' first axes.

    Scalars are given whole.  What comes back is joined along first axes.

    Raises:
      ValueError: if a first axis does not divide among the devices.
    """
    if self.size == 1:
      return function(*args)
    for array in jax.tree.leaves(args):
      if array.ndim and len(array) % self.size:
        raise ValueError(
          f"{len(array)} queries do not divide among {self.size} devices;"
          " choose a multiple as BATCH_SIZE"
        )
    split = PartitionSpec(self.axes)
    specs = jax.tree.map(
      lambda array: split if array.ndim else PartitionSpec(), args
    )
    # Not checked: what varies over devices.  The gradient is written by hand.
    return jax.shard_map(
      function, in_specs=specs, out_specs=split, check_vma=False
    )(*args)


def of_context() -> Ring:
  """The ring of `jax.set_mesh`'s mesh."""
  mesh = jax.sharding.get_abstract_mesh()
  return Ring((), 1) if mesh.empty else Ring(mesh.axis_names, mesh.size)
