"""Arrays of safetensors and PyTorch files, read one by one when they are used.

A table of names and shapes costs nothing; an array is in memory from the
moment it is asked for until its user drops it.
"""

import dataclasses
import importlib
import json
import pathlib
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from gtr_jax.files import optional

_SINGLE = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_PICKLE = "pytorch_model.bin"
_PICKLE_INDEX = "pytorch_model.bin.index.json"


@dataclasses.dataclass(frozen=True)
class LazyArray:
  """An array on disk: the shape is known, `np.asarray` reads it.

  Attributes:
    shape: of the array.
    read: gives the numbers, float32.
  """

  shape: tuple[int, ...]
  read: Callable[[], np.ndarray] = dataclasses.field(repr=False)

  def __array__(self, dtype: Any = None, copy: bool | None = None):
    array = self.read()
    return array if dtype is None else array.astype(dtype, copy=False)

  @property
  def transposed(self) -> "LazyArray":
    """PyTorch's [out, in] as our [in, out], or the reverse."""
    return LazyArray(
      self.shape[::-1], lambda: np.ascontiguousarray(self.read().T)
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
  if (folder / _INDEX).is_file():
    return _sharded(folder / _INDEX, _safetensors)
  if (folder / _SINGLE).is_file():
    return _safetensors(folder / _SINGLE)
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
      f"{index}: broken or cut, no weight_map of arrays to files ({error!r})"
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

  def reader(name: str) -> Callable[[], np.ndarray]:
    def read() -> np.ndarray:
      # Opened anew: a handle would keep the pages of all that was read.
      with library.safe_open(path, "numpy") as file:
        return _as_float32(path, name, file.get_tensor(name))

    return read

  return {
    name: LazyArray(shape, reader(name)) for name, shape in shapes.items()
  }


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
    tensors = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
  except Exception as error:  # Its pickle and zip readers raise all kinds.
    reason = str(error).strip().partition("\n")[0]
    raise ValueError(
      f"{path}: broken, cut, or more than weights ({reason})"
    ) from None

  def reader(name: str) -> Callable[[], np.ndarray]:
    return lambda: _as_float32(path, name, tensors[name].float().numpy())

  return {
    name: LazyArray(shape, reader(name)) for name, shape in shapes.items()
  }


def _as_float32(path: pathlib.Path, name: str, array: np.ndarray) -> np.ndarray:
  # bfloat16 is a type of ml_dtypes, which NumPy does not call floating.
  if array.dtype.kind not in "fV" or array.dtype.itemsize > 8:
    raise ValueError(f"{path}: {name} is {array.dtype}, due are floats")
  return array.astype(np.float32, copy=False)


def _some(found: Iterable[str]) -> str:
  listed = sorted(found)
  more = f" and {len(listed) - 3} more" if len(listed) > 3 else ""
  return ", ".join(listed[:3]) + more
