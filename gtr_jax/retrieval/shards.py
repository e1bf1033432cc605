"""One matrix of embeddings in several .npy files."""

import pathlib
from collections.abc import Sequence

import ml_dtypes
import numpy as np
from jaxtyping import Float

from gtr_jax.files import whole

# NumPy's files know no bfloat16: its bits are kept as uint16.
DTYPES = {
  "float32": np.dtype(np.float32),
  "float16": np.dtype(np.float16),
  "bfloat16": np.dtype(ml_dtypes.bfloat16),
}


def file_name(shard: int, num_shards: int) -> str:
  return f"shard-{shard:05d}-of-{num_shards:05d}.npy"


def write(
  path: pathlib.Path, embeddings: Float[np.ndarray, "n D"], dtype: str
) -> None:
  values = np.ascontiguousarray(embeddings.astype(DTYPES[dtype]))
  if dtype == "bfloat16":
    values = values.view(np.uint16)
  with whole.writing(path) as stream:
    np.save(stream, values)


def read(
  path: pathlib.Path, dtype: str, num_rows: int
) -> Float[np.ndarray, "n D"]:
  """The memory-mapped embeddings of a shard.

  Raises:
    ValueError: a shard that is missing, cut, or not what it should be.
  """
  stored = np.dtype(np.uint16) if dtype == "bfloat16" else DTYPES[dtype]
  try:
    values = np.load(path, mmap_mode="r")
  except FileNotFoundError:
    raise ValueError(f"{path}: is missing: {_AGAIN}") from None
  except (ValueError, EOFError) as error:
    raise ValueError(
      f"{path}: is no whole .npy file ({error}): {_AGAIN}"
    ) from (None)
  if values.ndim != 2 or len(values) != num_rows or values.dtype != stored:
    raise ValueError(
      f"{path}: is {values.dtype} {values.shape}, due is {stored}"
      f" [{num_rows}, D]: {_AGAIN}"
    )
  return values.view(DTYPES[dtype])


_AGAIN = "run the same `gtr encode` again, it makes what is missing"


class Embeddings:
  """The rows of all shards, [C, D], read a slice at a time."""

  def __init__(self, shards: Sequence[np.ndarray], width: int):
    wrong = [shard.shape for shard in shards if shard.shape[1] != width]
    if wrong:
      raise ValueError(f"a shard is {wrong[0]} where {width} columns were due")
    self._shards = shards
    self._ends = np.cumsum([0] + [len(shard) for shard in shards])
    self._width = width

  @property
  def shape(self) -> tuple[int, int]:
    return int(self._ends[-1]), self._width

  def __getitem__(self, rows: slice) -> np.ndarray:
    """Rows in the stored dtype; those of one shard are not copied."""
    start, stop, step = rows.indices(self.shape[0])
    if step != 1:
      raise ValueError(f"rows are read in order, the step was {step}")
    parts = [
      shard[max(start - first, 0) : stop - first]
      for shard, first in zip(self._shards, self._ends, strict=False)
      if first < stop and start < first + len(shard)
    ]
    if not parts:
      return np.zeros((0, self._width), np.float32)
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
