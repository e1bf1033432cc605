"""Files between two steps of one run: lists of plain tuples, in chunks."""

import heapq
import marshal
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

Row = tuple[Any, ...]

_LENGTH_BYTES = 8
_CHUNK_ROWS = 256
_FAN_IN = 128  # Files open at once.


def append(path: pathlib.Path, rows: Sequence[Row]) -> None:
  """Adds a chunk to a file that only this process writes."""
  content = marshal.dumps(list(rows))
  with path.open("ab") as stream:
    stream.write(len(content).to_bytes(_LENGTH_BYTES))
    stream.write(content)


def write(path: pathlib.Path, rows: Iterable[Row]) -> None:
  """A whole file, a few rows in memory."""
  path.touch()
  chunk: list[Row] = []
  for row in rows:
    chunk.append(row)
    if len(chunk) == _CHUNK_ROWS:
      append(path, chunk)
      chunk = []
  if chunk:
    append(path, chunk)


def read(path: pathlib.Path) -> Iterator[Row]:
  with path.open("rb") as stream:
    while length := stream.read(_LENGTH_BYTES):
      yield from marshal.loads(stream.read(int.from_bytes(length)))


def merged(
  paths: Sequence[pathlib.Path], folder: pathlib.Path
) -> Iterator[Row]:
  """The rows of sorted files in one order; rows begin with a unique number."""
  level = 0
  while len(paths) > _FAN_IN:
    groups = [
      paths[start : start + _FAN_IN] for start in range(0, len(paths), _FAN_IN)
    ]
    paths = [folder / f"merged-{level}-{n}" for n in range(len(groups))]
    for path, group in zip(paths, groups, strict=True):
      write(path, heapq.merge(*map(read, group)))
      for old in group:
        old.unlink()
    level += 1
  return heapq.merge(*map(read, paths))
