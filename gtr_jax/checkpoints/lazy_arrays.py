"""Arrays that stay on disk: their parts are read when they are used.

A table of names and shapes costs nothing; what is asked for is in memory until
its user drops it.
"""

import dataclasses
import importlib
import itertools
import json
import math
import pathlib
import zipfile
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from gtr_jax.files import optional

_SINGLE = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_PICKLE = "pytorch_model.bin"
_PICKLE_INDEX = "pytorch_model.bin.index.json"


# Which numbers of an array: a slice of step 1 for each axis.
Part = tuple[slice, ...]
# What is read at one go where the file does not care; a few times as much is in
# memory while it is converted and written elsewhere.
_BLOCK_BYTES = 16 * 2**20


@dataclasses.dataclass(frozen=True)
class LazyArray:
  """An array on disk: the shape is known, `array[part]` reads a part of it.

  Attributes:
    shape: of the array.
    read: gives the numbers of a part, float32.
    block: shape of the parts in which it is best read.
  """

  shape: tuple[int, ...]
  read: Callable[[Part], np.ndarray] = dataclasses.field(repr=False)
  block: tuple[int, ...]

  def __getitem__(self, part: Part) -> np.ndarray:
    return self.read(part)

  def __array__(self, dtype: Any = None, copy: bool | None = None):
    array = self.read((slice(None),) * len(self.shape))
    return array if dtype is None else array.astype(dtype, copy=False)

  @property
  def size(self) -> int:
    return math.prod(self.shape)

  @property
  def transposed(self) -> "LazyArray":
    """PyTorch's [out, in] as our [in, out], or the reverse."""
    return LazyArray(
      self.shape[::-1],
      lambda part: np.ascontiguousarray(self.read(part[::-1]).T),
      self.block[::-1],
    )

  def parts(self) -> Iterator[Part]:
    """The parts that make up the array, none larger than `block`."""
    axes = zip(self.shape, self.block, strict=True)
    starts = [range(0, size, max(step, 1)) for size, step in axes]
    for corner in itertools.product(*starts):
      yield tuple(
        slice(start, min(start + step, size))
        for start, step, size in zip(
          corner, self.block, self.shape, strict=True
        )
      )


def in_memory(array: np.ndarray) -> LazyArray:
  """An array that is in memory, float32, as one on disk."""
  array = np.asarray(array, np.float32)
  return of_rows(array.shape, lambda part: array[part])


def of_rows(
  shape: tuple[int, ...], read: Callable[[Part], np.ndarray]
) -> LazyArray:
  """An array whose rows, along the first axis, lie one behind the other."""
  row_bytes = 4 * math.prod(shape[1:])
  num_rows = max(1, _BLOCK_BYTES // max(1, row_bytes))
  block = (min(num_rows, shape[0]), *shape[1:]) if shape else ()
  return LazyArray(shape, read, block)


def are_equal(one: LazyArray, other: LazyArray) -> bool:
  """Whether two arrays have one shape and the same numbers."""
  return one.shape == other.shape and all(
    np.array_equal(one[part], other[part]) for part in one.parts()
  )


def open_folder(
  folder: pathlib.Path, say: Callable[[str], None]
) -> dict[str, LazyArray]:
  """The arrays of a folder, from one file or as many as its index names.

  Args:
    folder: with model.safetensors, its index, or pytorch_model.bin.
    say: takes a line when a .bin file, a pickle, is read.

  Raises:
    ValueError: no such file, a file cut short, or an index that does not agree
      with its files.
  """
  if (folder / _SINGLE).is_file():
    if (folder / _INDEX).is_file():
      say(f"{folder}: {_SINGLE} is read, as transformers does, not {_INDEX}")
    return _safetensors(folder / _SINGLE)
  if (folder / _INDEX).is_file():
    return _sharded(folder / _INDEX, _safetensors)
  pickled = [
    folder / name
    for name in (_PICKLE_INDEX, _PICKLE)
    if (folder / name).is_file()
  ]
  if not pickled:
    raise ValueError(
      f"{folder}: holds no weights; due is {_SINGLE}, {_INDEX} with its files,"
      f" or {_PICKLE}"
    )
  say(f"{pickled[0]}: a pickle, read as weights only; prefer {_SINGLE}")
  if pickled[0].name == _PICKLE_INDEX:
    return _sharded(pickled[0], _pickle)
  return _pickle(pickled[0])


def _sharded(
  index: pathlib.Path,
  open_file: Callable[[pathlib.Path], dict[str, LazyArray]],
) -> dict[str, LazyArray]:
  try:
    places = json.loads(index.read_bytes())["weight_map"]
    files = sorted({str(file) for file in places.values()})
  except (ValueError, KeyError, TypeError, AttributeError) as error:
    raise ValueError(
      f"{index}: broken or cut, no weight_map of arrays to files"
      f" ({error!r:.200})"
    ) from None
  arrays: dict[str, LazyArray] = {}
  for file in files:
    path = index.parent / file
    if pathlib.PurePath(file).name != file or not path.is_file():
      raise ValueError(
        f"{index}: names {file}, which is not beside it; copy all"
        f" {len(files)} files"
      )
    opened = open_file(path)
    named = {name for name, place in places.items() if place == file}
    if opened.keys() != named:
      raise ValueError(
        f"{path}: holds other arrays than {index.name} says:"
        f" {_some(named ^ opened.keys())}; copy the folder again"
      )
    arrays |= opened
  return arrays


def _safetensors(path: pathlib.Path) -> dict[str, LazyArray]:
  library = optional.load("safetensors", "interop")
  try:
    # Looks at the header alone, and that the file is as long as it says.
    with library.safe_open(path, "numpy") as file:
      found = file.keys()
      shapes = {k: tuple(file.get_slice(k).get_shape()) for k in found}
  except (library.SafetensorError, OSError) as error:
    raise ValueError(
      f"{path}: broken or cut, {path.stat().st_size} bytes are no safetensors"
      f" file ({error})"
    ) from None

  def reader(name: str) -> Callable[[Part], np.ndarray]:
    def read(part: Part) -> np.ndarray:
      # Opened anew: a handle would keep the pages of all that was read.
      with library.safe_open(path, "numpy") as file:
        found = file.get_slice(name)[part] if part else file.get_tensor(name)
        return as_float32(f"{path}: {name}", found)

    return read

  return {name: of_rows(shape, reader(name)) for name, shape in shapes.items()}


def _pickle(path: pathlib.Path) -> dict[str, LazyArray]:
  try:
    torch = importlib.import_module("torch")
  except ModuleNotFoundError:
    raise ValueError(
      f"{path}: a .bin file needs torch: pip install torch, or save the model"
      f" with safetensors as {_SINGLE}"
    ) from None
  try:
    # Never without weights_only: a pickle can run any program.
    tensors = torch.load(
      path,
      map_location="cpu",
      weights_only=True,
      mmap=zipfile.is_zipfile(path),  # Files before torch 1.6 are none.
    )
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
  except Exception as error:  # Its pickle and zip readers raise all kinds.
    reason = str(error).strip().partition("\n")[0]
    raise ValueError(
      f"{path}: broken, cut, or more than weights ({reason})"
    ) from None

  for name, tensor in tensors.items():
    if not tensor.is_floating_point():
      raise ValueError(f"{path}: {name} is {tensor.dtype}, due are floats")

  def reader(name: str) -> Callable[[Part], np.ndarray]:
    # By way of float32, because NumPy has no bfloat16.
    return lambda part: tensors[name][part].float().numpy()

  return {name: of_rows(shape, reader(name)) for name, shape in shapes.items()}


def as_float32(name: str, array: np.ndarray) -> np.ndarray:
  """Floats of any width as float32.

  Args:
    name: of the array, for the error.

  Raises:
    ValueError: other numbers.
  """
  # bfloat16 is a type of ml_dtypes, which NumPy does not call floating.
  if array.dtype.kind not in "fV" or array.dtype.itemsize > 8:
    raise ValueError(f"{name} is {array.dtype}, due are floats")
  return array.astype(np.float32, copy=False)


def _some(found: Iterable[str]) -> str:
  listed = sorted(found)
  more = f" and {len(listed) - 3} more" if len(listed) > 3 else ""
  return ", ".join(listed[:3]) + more
