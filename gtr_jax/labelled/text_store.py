"""Texts by id in memory-mapped files: a look-up reads one place, not a dict.

entries.bin   header, id, title and text of each entry, one after the other
starts.npy    int64 [n + 1], where each entry starts
hashes.npy    uint64 [m], sorted: hashes of the ids that can be looked up
order.npy     uint32 [m] or int64, the entry of each hash
manifest.json last: what the store was made from, counts, what was left out

The id of an entry is compared in full, so equal hashes of two ids do no harm.
Where ids may repeat a store is a relation: query id to passage id and score.
"""

import hashlib
import json
import mmap
import pathlib
import struct
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int64, UInt64

FORMAT = 1
MANIFEST = "manifest.json"
# Bytes of the id and of the title, number of the source, line in it.
HEADER = struct.Struct("<IIHQ")


class Entry(NamedTuple):
  """A text and where it came from.

  Attributes:
    title: empty where there is none; of a relation the score.
    text: of a relation the other id.
    source: number of the file among those the store was made from.
    line: from 1.
  """

  id: str
  title: str
  text: str
  source: int = 0
  line: int = 0


class TextStore:
  """A store that was opened; see `text_store_writer.build`.

  Args:
    sources: names of what it was made from; None takes those of that time.

  Raises:
    ValueError: files that are missing, cut or do not fit together.
  """

  def __init__(
    self, directory: pathlib.Path, sources: Sequence[str] | None = None
  ):
    self.directory = directory
    self.manifest = _manifest(directory)
    self.sources = list(sources or self.manifest["sources"])
    self._starts = _array(directory, "starts")
    self._hashes = _array(directory, "hashes")
    self._order = _array(directory, "order")
    path = directory / "entries.bin"
    size = path.stat().st_size if path.exists() else -1
    num_indexed = len(self._hashes)
    if (
      not len(self._starts)
      or size != self._starts[-1]
      or num_indexed != len(self._order)
      or num_indexed != self.manifest["num_indexed"]
    ):
      raise ValueError(f"{directory}: is no whole text store: delete it")
    with path.open("rb") as stream:  # An empty file cannot be mapped.
      self._bytes = (
        mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
      )

  def __len__(self) -> int:
    return len(self._starts) - 1

  def place(self, entry: Entry) -> str:
    """`file:line` of an entry."""
    return f"{self.sources[entry.source]}:{entry.line}"

  def entry(self, row: int) -> Entry:
    """The entry of a row."""
    start, stop = int(self._starts[row]), int(self._starts[row + 1])
    id_bytes, title_bytes, source, line = HEADER.unpack_from(self._bytes, start)
    title_start = start + HEADER.size + id_bytes
    text_start = title_start + title_bytes
    return Entry(
      self._bytes[start + HEADER.size : title_start].decode(),
      self._bytes[title_start:text_start].decode(),
      self._bytes[text_start:stop].decode(),
      source,
      line,
    )

  def rows(self, ids: Sequence[str]) -> Int64[np.ndarray, "n"]:
    """The first row of each id; -1 where there is none."""
    found = [rows[0] if rows else -1 for rows in self.all_rows(ids)]
    return np.array(found, np.int64)

  def find(self, ids: Sequence[str]) -> list[Entry | None]:
    """The first entry of each id."""
    return [
      self.entry(row) if row >= 0 else None for row in self.rows(ids).tolist()
    ]

  def find_all(self, ids: Sequence[str]) -> list[list[Entry]]:
    """All entries of each id, in the order of the source."""
    return [list(map(self.entry, rows)) for rows in self.all_rows(ids)]

  def all_rows(self, ids: Sequence[str]) -> list[list[int]]:
    """The rows of each id, ascending."""
    encoded = [identifier.encode() for identifier in ids]
    wanted = hashes(encoded)
    starts = np.searchsorted(self._hashes, wanted, "left").tolist()
    stops = np.searchsorted(self._hashes, wanted, "right").tolist()
    return [
      [
        row
        for row in self._order[start:stop].tolist()
        if self.id_bytes(row) == identifier
      ]
      for identifier, start, stop in zip(encoded, starts, stops, strict=True)
    ]

  def id_bytes(self, row: int) -> bytes:
    start = int(self._starts[row])
    (num_bytes,) = struct.unpack_from("<I", self._bytes, start)
    start += HEADER.size
    return self._bytes[start : start + num_bytes]

  def __iter__(self) -> Iterator[Entry]:
    """All entries that can be looked up, in the order of the sources."""
    indexed = np.zeros(len(self), bool)
    indexed[self._order] = True
    return (self.entry(row) for row in range(len(self)) if indexed[row])


def digest(identifier: bytes) -> bytes:
  """8 bytes that spread evenly, the same on every machine."""
  return hashlib.blake2b(identifier, digest_size=8).digest()


def hashes(ids: Sequence[bytes]) -> UInt64[np.ndarray, "n"]:
  return np.frombuffer(b"".join(map(digest, ids)), "<u8")


def _manifest(directory: pathlib.Path) -> dict[str, Any]:
  path = directory / MANIFEST
  try:
    manifest = json.loads(path.read_bytes())
  except (OSError, ValueError) as error:
    raise ValueError(
      f"{path}: is no manifest of a text store ({error}): delete {directory}"
    ) from None
  if manifest.get("format") != FORMAT:
    raise ValueError(f"{path}: is of another version: delete {directory}")
  return manifest


def _array(directory: pathlib.Path, name: str) -> np.ndarray:
  path = directory / f"{name}.npy"
  try:
    # The plain array: slices of a memmap are slow.
    return np.asarray(np.load(path, mmap_mode="r"))
  except (OSError, ValueError, EOFError) as error:
    raise ValueError(
      f"{path}: is no whole .npy file ({error}): delete {directory}"
    ) from None
