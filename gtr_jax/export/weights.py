"""Arrays under T5X's names as safetensors, in shards where they are large.

The files are laid out as Hugging Face's; the names are flat, parts joined by
slashes.
"""

import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

from gtr_jax.files import optional

# Of one file at most, if no single array is larger: a copy of that much is in
# memory while it is written.
SHARD_BYTES = 2 * 2**30
_INDEX_SUFFIX = ".safetensors.index.json"


def write(
  arrays: Mapping[str, Any], directory: pathlib.Path, name: str
) -> None:
  """Writes NAME.safetensors, or shards and their index, as Hugging Face does.

  Args:
    arrays: on the host or on devices; a file's share is fetched at a time.
    directory: where to.
    name: of the files.
  """
  library = optional.load("safetensors.numpy", "interop")
  shards = list(_shards(arrays, SHARD_BYTES))
  files = {}
  for number, shard in enumerate(shards, 1):
    part = "" if len(shards) == 1 else f"-{number:05}-of-{len(shards):05}"
    file = f"{name}{part}.safetensors"
    fetched = {key: np.ascontiguousarray(arrays[key]) for key in shard}
    library.save_file(fetched, directory / file)
    (directory / file).chmod(0o644)  # The library lets nobody else read it.
    files.update(dict.fromkeys(shard, file))
  if len(shards) > 1:
    total = sum(array.nbytes for array in arrays.values())
    index = {"metadata": {"total_size": total}, "weight_map": files}
    path = directory / f"{name}{_INDEX_SUFFIX}"
    path.write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _shards(arrays: Mapping[str, Any], most: int) -> Iterator[list[str]]:
  """Names of arrays that share a file, in their order."""
  shard, size = [], 0
  for name, array in arrays.items():
    if shard and size + array.nbytes > most:
      yield shard
      shard, size = [], 0
    shard.append(name)
    size += array.nbytes
  yield shard


def read(directory: pathlib.Path, name: str) -> dict[str, jax.Array]:
  """What `write` wrote, on JAX's first device.

  Raises:
    ValueError: a file is missing, or is broken.
  """
  library = optional.load("safetensors.flax", "interop")
  broken = optional.load("safetensors", "interop").SafetensorError
  arrays = {}
  for path in _files(directory, name):
    try:
      arrays.update(library.load_file(path))
    except FileNotFoundError:
      raise ValueError(
        f"{path}: no such file; export the model again"
      ) from None
    except (broken, ValueError) as error:
      raise ValueError(
        f"{path}: broken or cut ({error}); export the model again"
      ) from None
  return arrays


def _files(directory: pathlib.Path, name: str) -> list[pathlib.Path]:
  index = directory / f"{name}{_INDEX_SUFFIX}"
  if not index.is_file():
    return [directory / f"{name}.safetensors"]
  try:
    content = json.loads(index.read_text(encoding="utf-8"))
    files = set(content["weight_map"].values())
  except (ValueError, KeyError, TypeError, AttributeError) as error:
    raise ValueError(
      f"{index}: not an index of arrays ({error!r}); export the model again"
    ) from None
  return [directory / file for file in sorted(files)]
