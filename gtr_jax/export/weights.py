"""Arrays under T5X's names as safetensors, in shards where they are large."""

import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from gtr_jax.files import optional

# Of one file at most, if no single array is larger: a copy of that much is in
# memory while it is written.
SHARD_BYTES = 2 * 2**30


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
    path = directory / f"{name}.safetensors.index.json"
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
