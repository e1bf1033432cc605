"""Ids and texts of a store's rows, on disk, looked up one at a time.

ids.txt                an id a line
documents.jsonl        `_id`, `title`, `text`, as in a BEIR corpus
documents.offsets.npy  int64 [n + 1], where each line of it starts
"""

import array
import contextlib
import json
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import overload

import numpy as np

from gtr_jax.files import whole
from gtr_jax.retrieval import encode

IDS = "ids.txt"
DOCUMENTS = "documents.jsonl"
OFFSETS = "documents.offsets.npy"

Add = Callable[[str, str, str], None]  # Takes id, title and text.


class Lines(Sequence[str]):
  """The lines of a memory-mapped UTF-8 file, by number from 0."""

  def __init__(self, path: pathlib.Path, offsets: np.ndarray):
    self._offsets = offsets
    size = path.stat().st_size  # An empty file cannot be mapped.
    self._bytes = np.memmap(path, mode="r") if size else np.zeros(0, np.uint8)

  def __len__(self) -> int:
    return len(self._offsets) - 1

  @overload
  def __getitem__(self, index: int) -> str: ...
  @overload
  def __getitem__(self, index: slice) -> list[str]: ...
  def __getitem__(self, index: int | slice) -> str | list[str]:
    if isinstance(index, slice):
      return [self[place] for place in range(*index.indices(len(self)))]
    place = range(len(self))[index]
    start, stop = self._offsets[place : place + 2]
    return self._bytes[start : stop - 1].tobytes().decode()


class Documents:
  """Ids and texts of a store's rows.

  Raises:
    ValueError: files that are missing, cut or do not fit together.
  """

  def __init__(self, directory: pathlib.Path, num_rows: int):
    for name in (IDS, DOCUMENTS, OFFSETS):
      if not (directory / name).is_file():
        raise ValueError(
          f"{directory / name}: is missing: encode again into another --output"
        )
    self.ids = Lines(directory / IDS, _line_offsets(directory / IDS))
    offsets = _load_offsets(directory / OFFSETS)
    size = (directory / DOCUMENTS).stat().st_size
    if not num_rows == len(self.ids) == len(offsets) - 1 or size != offsets[-1]:
      raise ValueError(
        f"{directory}: {num_rows} rows were due, {IDS}, {DOCUMENTS} and"
        f" {OFFSETS} hold {len(self.ids)} ids, {size} bytes and"
        f" {len(offsets) - 1} lines of {offsets[-1]} bytes: a file was cut or"
        " changed, encode again into another --output"
      )
    self._lines = Lines(directory / DOCUMENTS, offsets)

  def text(self, row: int) -> str:
    """Title and text joined, as the model read them."""
    return encode.join_title(json.loads(self._lines[row]))

  def texts(self, start: int, stop: int) -> "Texts":
    """The texts of some rows, read when they are asked for."""
    return Texts(self, range(start, stop))


class Texts(Sequence[str]):
  """Texts of consecutive rows, read when they are asked for."""

  def __init__(self, documents: Documents, rows: range):
    self._documents, self._rows = documents, rows

  def __len__(self) -> int:
    return len(self._rows)

  @overload
  def __getitem__(self, index: int) -> str: ...
  @overload
  def __getitem__(self, index: slice) -> "Texts": ...
  def __getitem__(self, index: int | slice) -> "str | Texts":
    if isinstance(index, slice):
      return Texts(self._documents, self._rows[index])
    return self._documents.text(self._rows[index])


@contextlib.contextmanager
def writing(directory: pathlib.Path) -> Iterator[Add]:
  """A function that adds a row; the files appear when the block ends well.

  It raises a ValueError for an id that would not be one line of a file.
  """
  starts = array.array("q", [0])
  with (
    whole.writing(directory / IDS) as ids,
    whole.writing(directory / DOCUMENTS) as documents,
  ):

    def add(identifier: str, title: str, text: str) -> None:
      if identifier.splitlines() != [identifier]:
        raise ValueError(f"the id {identifier!r} is empty or has a line end")
      ids.write(f"{identifier}\n".encode())
      line = {"_id": identifier, "title": title, "text": text}
      num_bytes = documents.write(
        json.dumps(line, ensure_ascii=False).encode() + b"\n"
      )
      starts.append(starts[-1] + num_bytes)

    yield add
  _save_offsets(directory / OFFSETS, starts)


def _save_offsets(path: pathlib.Path, starts: "array.array[int]") -> None:
  with whole.writing(path) as stream:
    np.save(stream, np.frombuffer(starts, np.int64))


def _load_offsets(path: pathlib.Path) -> np.ndarray:
  try:
    return np.load(path, mmap_mode="r")
  except (ValueError, EOFError) as error:
    raise ValueError(
      f"{path}: is no whole .npy file ({error}): encode again into another"
      " --output"
    ) from None


def _line_offsets(path: pathlib.Path) -> np.ndarray:
  """Where the lines of a file start, and where the last one ends."""
  content = np.fromfile(path, np.uint8)
  ends = np.flatnonzero(content == ord("\n")) + 1
  return np.concatenate([[0], ends])
