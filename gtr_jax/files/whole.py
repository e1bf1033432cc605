"""Files that are on disk whole or not at all."""

import contextlib
import os
import pathlib
from collections.abc import Iterator
from typing import BinaryIO


@contextlib.contextmanager
def writing(path: pathlib.Path) -> Iterator[BinaryIO]:
  """A stream whose content becomes the file when the block ends well.

  A crash inside the block leaves what was there before.  The folder is made if
  it is not there.
  """
  path.parent.mkdir(parents=True, exist_ok=True)
  temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
  try:
    with temporary.open("wb") as stream:
      yield stream
      stream.flush()
      os.fsync(stream.fileno())
    os.replace(temporary, path)
  finally:
    temporary.unlink(missing_ok=True)
  sync(path.parent)


def write(path: pathlib.Path, content: bytes) -> None:
  """Writes a file so that a crash leaves the old one or the new one."""
  with writing(path) as stream:
    stream.write(content)


def prepare(path: str | pathlib.Path) -> pathlib.Path:
  """Makes the folder of an output file, so that a mistake shows before work.

  Raises:
    ValueError: the path is a folder.
  """
  file = pathlib.Path(path)
  if file.is_dir():
    raise ValueError(f"{file}: is a folder, a file to write was due")
  file.parent.mkdir(parents=True, exist_ok=True)
  return file


def sync(path: pathlib.Path) -> None:
  """Makes a file's content, or the names in a directory, durable."""
  descriptor = os.open(path, os.O_RDONLY)
  try:
    os.fsync(descriptor)
  finally:
    os.close(descriptor)
