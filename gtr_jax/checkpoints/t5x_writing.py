"""Writes checkpoints of T5X's legacy format, which all its versions read.

`checkpoint_N/checkpoint` is a msgpack tree of TensorStore specifications; the
arrays lie beside it, a zarr folder with gzip each.  T5X's Orbax manager looks
for that file first and hands over to the older reader.
"""

import math
import pathlib
from collections.abc import Mapping
from typing import Any

import flax.serialization
import jax.numpy as jnp
import numpy as np
import tensorstore

from gtr_jax.checkpoints import names
from gtr_jax.files import whole

# Of the format: bfloat16 is stored as such.
_VERSION = 3
_CHUNK_BYTES = 64 * 2**20


def write_t5x(
  directory: pathlib.Path,
  step: int,
  arrays: Mapping[str, Any],
  dtype: str = "float32",
) -> pathlib.Path:
  """Writes parameters and the step, no optimizer state.

  Args:
    directory: gets `checkpoint_<step>`.
    step: number of updates made.
    arrays: by flat T5X names; one after the other is cast and written.
    dtype: float32 or bfloat16.

  Returns:
    The checkpoint's folder.
  """
  folder = directory / f"checkpoint_{step}"
  folder.mkdir(parents=True)
  target = {
    name: _write_array(folder, name, array, dtype)
    for name, array in arrays.items()
  }
  tree = {
    "target": names.unflatten(target),
    "state": {"step": np.int32(step)},
  }
  content = flax.serialization.msgpack_serialize(
    {"version": _VERSION, "optimizer": tree}
  )
  # Last: T5X takes a folder without it for no checkpoint.
  whole.write(folder / "checkpoint", content)
  return folder


def _write_array(
  folder: pathlib.Path, name: str, array: Any, dtype: str
) -> dict[str, Any]:
  """Writes one array; what stands for it in the index."""
  key = f"target.{name.replace('/', '.')}"
  numbers = np.asarray(array).astype(jnp.dtype(dtype))
  chunk = _chunk_shape(numbers.shape, numbers.itemsize)
  metadata = {
    "shape": list(numbers.shape),
    "chunks": list(chunk),
    "compressor": {"id": "gzip", "level": 1},
  }
  spec = {"driver": "zarr", "dtype": dtype, "metadata": metadata}
  place = {"driver": "file", "path": f"{folder / key}/"}
  store = tensorstore.open({**spec, "kvstore": place}, create=True).result()
  store.write(numbers).result()
  # T5X reads it as beside the index, wherever that was moved.
  return {**spec, "kvstore": {"driver": "file", "path": f"{key}/"}}


def _chunk_shape(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
  """The array, its rows halved until a chunk is small enough to be read."""
  if not shape:
    return shape
  rows, width = shape[0], math.prod(shape[1:]) * itemsize
  while rows > 1 and rows * width > _CHUNK_BYTES:
    rows = -(-rows // 2)
  return (rows, *shape[1:])
