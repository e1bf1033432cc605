"""The bytes of a file, as they are or compressed, a piece at a time.

gzip, bzip2, xz, Zstandard and 7z, told by the first bytes or by the name.
"""

import bz2
import contextlib
import gzip
import io
import lzma
import pathlib
import queue
import threading
from collections.abc import Callable, Iterator
from typing import IO, Any, cast

from gtr_jax.files import optional

# Suffix: how such a file begins.
_BEGINNINGS = {
  ".gz": b"\x1f\x8b",
  ".bz2": b"BZh",
  ".xz": b"\xfd7zXZ\x00",
  ".zst": b"\x28\xb5\x2f\xfd",
  ".7z": b"7z\xbc\xaf\x27\x1c",
}
_NAMES = {
  ".gz": "gzip",
  ".bz2": "bzip2",
  ".xz": "xz",
  ".zst": "Zstandard",
  ".7z": "7z",
}
_BZIP2_BLOCK = b"1AY&SY"  # After "BZh" and a digit; text may begin with BZh.
_PIECE_BYTES = 1 << 20
_PIECES_AHEAD = 4
_WAIT_SECONDS = 0.1

# What a window of Zstandard may take: dumps are made with --long=31.
_LONGEST_WINDOW = 31


class BrokenStreamError(ValueError):
  """Compressed bytes that are cut or damaged; the message names no file."""


@contextlib.contextmanager
def opened(path: pathlib.Path, member: str = "") -> Iterator[IO[bytes]]:
  """A buffered stream of what the file holds, decompressed.

  Args:
    member: of a 7z archive, how the name of the file in it ends; case does not
      count.

  Raises:
    OSError: the file cannot be opened.
    ValueError: a library is missing, the archive lacks the member, or the path
      is a pipe or a device.

  Reading raises BrokenStreamError where compressed bytes are cut or damaged.
  """
  _require_file(path)
  with path.open("rb") as file:
    kind = _kind(path, file.peek(16)[:16])
    if kind is None:
      yield file
      return
    with _reader(kind, file, member) as raw:
      guarded = _Guarded(raw.read1, _NAMES[kind])
      yield cast(IO[bytes], io.BufferedReader(guarded, _PIECE_BYTES))


def stem(path: pathlib.Path) -> str:
  """The name of a file without the suffix that tells how it is compressed."""
  compressed = path.suffix.lower() in _BEGINNINGS
  return path.stem if compressed else path.name


def _require_file(path: pathlib.Path) -> None:
  """Pipes may never end, and files are read more than once."""
  if path.exists() and not path.is_file() and not path.is_dir():
    raise ValueError(
      f"{path}: is a pipe or a device, a file was due: write what comes out of"
      " it to a file"
    )


def _kind(path: pathlib.Path, beginning: bytes) -> str | None:
  """The suffix of the compression, or None."""
  for suffix, magic in _BEGINNINGS.items():
    if beginning.startswith(magic) and (
      suffix != ".bz2" or beginning[4:10] == _BZIP2_BLOCK
    ):
      return suffix
  suffix = path.suffix.lower()
  return suffix if suffix in _BEGINNINGS else None


@contextlib.contextmanager
def _reader(kind: str, file: IO[bytes], member: str) -> Iterator[Any]:
  """Something with `read1`."""
  if kind == ".7z":
    with _Member(file, member) as reader:
      yield reader
    return
  if kind == ".zst":
    zstd = optional.load("backports.zstd", "data")
    window = {zstd.DecompressionParameter.window_log_max: _LONGEST_WINDOW}
    opener: Callable[[IO[bytes]], Any] = lambda file: zstd.ZstdFile(
      file, options=window
    )
  else:
    opener = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}[kind]
  with opener(file) as reader:
    yield reader


class _Guarded(io.RawIOBase):
  """Whatever a library raises on damaged bytes becomes one exception."""

  def __init__(self, read1: Callable[[int], bytes], name: str) -> None:
    self._read1, self._name = read1, name

  def readable(self) -> bool:
    return True

  def readinto(self, buffer: Any, /) -> int:
    try:
      # What is whole before the damage comes first; `readinto` would lose it.
      piece = self._read1(len(buffer))
    except (ValueError, MemoryError):
      raise
    except Exception as error:  # Each library has exceptions of its own.
      reason = " ".join(str(error).split()) or type(error).__name__
      raise BrokenStreamError(
        f"the {self._name} stream is broken here ({reason}): copy the file"
        " again"
      ) from None
    buffer[: len(piece)] = piece
    return len(piece)


class _Member:
  """A file of a 7z archive; the library pushes bytes, so a thread waits.

  Nothing is unpacked to disk, and a few pieces are in memory.
  """

  def __init__(self, file: IO[bytes], member: str) -> None:
    self._library = optional.load("py7zr", "data")
    self._file, self._member = file, member
    self._pieces: queue.Queue[bytes | Exception | None] = queue.Queue(
      _PIECES_AHEAD
    )
    self._left = b""
    self._stopped = threading.Event()
    self._thread = threading.Thread(target=self._unpack, daemon=True)

  def __enter__(self) -> "_Member":
    self._thread.start()
    return self

  def __exit__(self, *_: object) -> None:
    self._stopped.set()
    self._thread.join()

  def read1(self, size: int) -> bytes:
    while not self._left:
      piece = self._pieces.get()
      if piece is None:
        self._pieces.put(None)
        return b""
      if isinstance(piece, Exception):
        raise piece
      self._left = piece
    piece, self._left = self._left[:size], self._left[size:]
    return piece

  def _unpack(self) -> None:
    try:
      with self._library.SevenZipFile(self._file) as archive:
        name = self._name(archive.getnames())
        archive.extract(targets=[name], factory=_Factory(self._put))
      self._put(None)
    except _Stopped:
      pass
    except Exception as error:  # Told by the thread that reads.
      with contextlib.suppress(_Stopped):
        self._put(error)

  def _name(self, names: list[str]) -> str:
    ending = self._member.casefold()
    found = [name for name in names if name.casefold().endswith(ending)]
    if len(found) != 1:
      raise ValueError(
        f"the 7z archive holds {len(found)} files named {self._member or '*'},"
        f" one was due (it holds: {', '.join(names[:6]) or 'nothing'})"
      )
    return found[0]

  def _put(self, piece: bytes | Exception | None) -> None:
    while not self._stopped.is_set():
      try:
        self._pieces.put(piece, timeout=_WAIT_SECONDS)
        return
      except queue.Full:
        continue
    raise _Stopped


class _Stopped(Exception):
  """Nobody reads on."""


class _Factory:
  """What py7zr asks for a place to write a file to."""

  def __init__(self, put: Callable[[bytes], None]) -> None:
    self._put = put

  def create(self, name: str) -> "_Sink":
    return _Sink(self._put)


class _Sink:
  """What py7zr writes to."""

  def __init__(self, put: Callable[[bytes], None]) -> None:
    self._put, self._size = put, 0

  def write(self, piece: bytes) -> int:
    self._size += len(piece)
    for start in range(0, len(piece), _PIECE_BYTES):
      self._put(bytes(piece[start : start + _PIECE_BYTES]))
    return len(piece)

  def read(self, size: int | None = None) -> bytes:
    return b""

  def seek(self, offset: int, whence: int = 0) -> int:
    return 0

  def flush(self) -> None:
    pass

  def size(self) -> int:
    return self._size

  def close(self) -> None:
    pass
