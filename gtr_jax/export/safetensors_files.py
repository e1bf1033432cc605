"""Arrays as safetensors, written one by one, in shards where they are many.

The safetensors library takes all arrays of a file at once, which is a second
model in memory.  The format is a length, a header in JSON and the bytes.

Source: https://github.com/huggingface/safetensors#format; the names of shards
  and their index are those of transformers.
"""

import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from gtr_jax.export import cpu
from gtr_jax.files import optional

# As much as transformers puts into a file.
MAX_SHARD_BYTES = 5_000_000_000
_DTYPES = {"float32": "F32", "bfloat16": "BF16"}
_INDEX_SUFFIX = ".index.json"
_ALIGNMENT = 8  # Of the first number, from the start of the file.


class Part(NamedTuple):
  """An array as it shall be in the file.

  Attributes:
    array: of JAX or NumPy, float32 or bfloat16.
    is_transposed: whether the file holds its transpose.
  """

  array: Any
  is_transposed: bool = False

  @property
  def shape(self) -> list[int]:
    shape = list(self.array.shape)
    return shape[::-1] if self.is_transposed else shape

  def read(self) -> np.ndarray:
    """The array in the order of the file."""
    array = self.array
    if isinstance(array, jax.Array):  # Which else keeps what it copies here.
      array = jax.device_put(array, cpu.device())
    array = np.asarray(array)
    return np.ascontiguousarray(array.T if self.is_transposed else array)


def write(
  path: pathlib.Path,
  parts: Mapping[str, Part],
  max_bytes: int = MAX_SHARD_BYTES,
) -> None:
  """Writes `path`, or its shards and `path`.index.json.

  Args:
    path: such as model.safetensors.
    max_bytes: of the arrays of a file; an array is never divided.
  """
  shards = list(_shards(parts, max_bytes))
  if len(shards) == 1:
    _write_file(path, shards[0])
    return
  places = {}
  for number, shard in enumerate(shards, start=1):
    name = f"{path.stem}-{number:05}-of-{len(shards):05}{path.suffix}"
    _write_file(path.with_name(name), shard)
    places.update(dict.fromkeys(shard, name))
  index = {
    "metadata": {"total_size": sum(p.array.nbytes for p in parts.values())},
    "weight_map": places,
  }
  path.with_name(f"{path.name}{_INDEX_SUFFIX}").write_text(
    json.dumps(index, indent=2) + "\n"
  )


def read(path: pathlib.Path) -> dict[str, jax.Array]:
  """What `write` wrote, on JAX's first device.

  Raises:
    ValueError: a file is missing, or is broken.
  """
  library = optional.load("safetensors.flax", "interop")
  broken = optional.load("safetensors", "interop").SafetensorError
  arrays = {}
  for file in _files(path):
    try:
      arrays.update(library.load_file(file))
    except FileNotFoundError:
      raise ValueError(
        f"{file}: no such file; export the model again"
      ) from None
    except (broken, ValueError) as error:
      raise ValueError(
        f"{file}: broken or cut ({error}); export the model again"
      ) from None
  return arrays


def _files(path: pathlib.Path) -> list[pathlib.Path]:
  index = path.with_name(f"{path.name}{_INDEX_SUFFIX}")
  if not index.is_file():
    return [path]
  try:
    content = json.loads(index.read_text(encoding="utf-8"))
    files = set(content["weight_map"].values())
  except (ValueError, KeyError, TypeError, AttributeError) as error:
    raise ValueError(
      f"{index}: not an index of arrays ({error!r}); export the model again"
    ) from None
  return [path.with_name(file) for file in sorted(files)]


def _shards(
  parts: Mapping[str, Part], max_bytes: int
) -> Iterator[dict[str, Part]]:
  shard, size = {}, 0
  for name, part in parts.items():
    if shard and size + part.array.nbytes > max_bytes:
      yield shard
      shard, size = {}, 0
    shard[name] = part
    size += part.array.nbytes
  yield shard


def _write_file(path: pathlib.Path, parts: Mapping[str, Part]) -> None:
  # Without this note transformers takes them for another library's.
  header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
  end = 0
  for name, part in parts.items():
    start, end = end, end + part.array.nbytes
    header[name] = {
      "dtype": _DTYPES[str(part.array.dtype)],
      "shape": part.shape,
      "data_offsets": [start, end],
    }
  text = json.dumps(header).encode()
  text += b" " * (-len(text) % _ALIGNMENT)
  with path.open("wb") as stream:
    stream.write(len(text).to_bytes(8, "little"))
    stream.write(text)
    for part in parts.values():
      # As bytes: NumPy's own buffers have no name for bfloat16.
      stream.write(part.read().reshape(-1).view(np.uint8).data)
