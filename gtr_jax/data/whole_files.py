"""Files that are on disk whole or not at all."""

import os
import pathlib


def write(path: pathlib.Path, content: bytes) -> None:
  """Writes a file so that a crash leaves the old one or the new one."""
  path.parent.mkdir(parents=True, exist_ok=True)
  temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
  try:
    with temporary.open("wb") as stream:
      stream.write(content)
      stream.flush()
      os.fsync(stream.fileno())
    os.replace(temporary, path)
  finally:
    temporary.unlink(missing_ok=True)
  sync_directory(path.parent)


def sync_directory(path: pathlib.Path) -> None:
  """Makes the names in a directory durable."""
  descriptor = os.open(path, os.O_RDONLY)
  try:
    os.fsync(descriptor)
  finally:
    os.close(descriptor)
