"""A dump cut into blocks of whole records, for several processes to parse."""

import pathlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from gtr_jax.files import streams
from gtr_jax.files.lines import BadLineError

BLOCK_BYTES = 1 << 22
MAX_RECORD_BYTES = 1 << 24  # Memory stays flat whatever a file holds.


@dataclass(frozen=True)
class Block:
  """Some records, whole.

  Attributes:
    path: the file.
    line: of the first byte, from 1.
    data: the bytes; empty if `too_long`.
    too_long: the block stands for one record that is longer than any may be.
  """

  path: str
  line: int
  data: bytes
  too_long: bool = False

  @property
  def num_lines(self) -> int:
    return self.data.count(b"\n")


def cut(
  path: pathlib.Path,
  stream: IO[bytes],
  start: bytes,
  line: int = 1,
  pending: bytes = b"",
) -> Iterator[Block]:
  """Blocks that begin where a record does; the last ends with the stream.

  Args:
    start: what a record starts with, and nothing else holds.
    line: of the first byte.
    pending: bytes before the stream's, read already.

  Raises:
    BadLineError: the stream is broken.
  """
  skipping = False
  while piece := _read(path, stream, line + pending.count(b"\n")):
    pending += piece
    if skipping:
      begin = pending.find(start)
      gone = len(pending) - len(start) if begin < 0 else begin
      line += pending.count(b"\n", 0, max(gone, 0))
      pending, skipping = pending[max(gone, 0) :], begin < 0
      if skipping:
        continue
    end = pending.rfind(start, 1)
    if end > 0:
      yield Block(str(path), line, pending[:end])
      line += pending.count(b"\n", 0, end)
      pending = pending[end:]
    if len(pending) > MAX_RECORD_BYTES:
      # A record that starts with the end of a line begins in the next one.
      begins = line + pending.startswith(b"\n")
      yield Block(str(path), begins, b"", too_long=True)
      line += pending.count(b"\n")
      pending, skipping = b"", True
  if pending:
    yield Block(str(path), line, pending)


def too_long(block: Block) -> ValueError:
  return ValueError(
    f"a record of more than {MAX_RECORD_BYTES} bytes: cut it or delete it"
  )


def _read(path: pathlib.Path, stream: IO[bytes], line: int) -> bytes:
  try:
    return stream.read(BLOCK_BYTES)
  except streams.BrokenStreamError as error:
    raise BadLineError(f"{path}:{line}: {error}") from None
  except OSError as error:
    raise BadLineError(
      f"{path}:{line}: cannot be read ({error}): copy the file again"
    ) from None
