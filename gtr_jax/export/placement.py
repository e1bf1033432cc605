"""A directory that is there whole or not at all."""

import contextlib
import os
import pathlib
import shutil
import uuid
from collections.abc import Iterator

from gtr_jax.files import whole

# Every export holds it; a directory without it is never overwritten.
DESCRIPTION_FILE = "gtr_export.json"


def require_free(output: pathlib.Path, overwrite: bool) -> None:
  """Checks that an export may be put there.

  Raises:
    ValueError: something else is there, or an export that is to be kept.
  """
  if not output.exists():
    return
  if not output.is_dir():
    raise ValueError(f"{output}: is a file; choose another --output")
  if not any(output.iterdir()):
    return
  if not (output / DESCRIPTION_FILE).is_file():
    raise ValueError(
      f"{output}: is not empty and no earlier export; choose another --output"
    )
  if not overwrite:
    raise ValueError(
      f"{output}: holds an export already; choose another --output, or replace"
      " it with --overwrite"
    )


@contextlib.contextmanager
def new_directory(
  output: pathlib.Path, overwrite: bool = False
) -> Iterator[pathlib.Path]:
  """A fresh directory that becomes `output` when the block ends well.

  If the block fails nothing is left, and what was at `output` stays.

  Raises:
    ValueError: see `require_free`.
  """
  output = output.resolve()
  require_free(output, overwrite)
  output.parent.mkdir(parents=True, exist_ok=True)
  partial = _beside(output, "partial")
  partial.mkdir()
  try:
    yield partial
    _sync(partial)
    require_free(output, overwrite)
    _put(partial, output)
  finally:
    shutil.rmtree(partial, ignore_errors=True)


def _put(directory: pathlib.Path, output: pathlib.Path) -> None:
  if not output.exists() or not any(output.iterdir()):
    os.replace(directory, output)
    return
  old = _beside(output, "old")
  os.replace(output, old)
  try:
    os.replace(directory, output)
  except OSError:
    os.replace(old, output)
    raise
  shutil.rmtree(old)


def _beside(output: pathlib.Path, purpose: str) -> pathlib.Path:
  """A name that nothing has, on the same disk."""
  return output.with_name(f".{output.name}.{uuid.uuid4().hex[:8]}.{purpose}")


def _sync(directory: pathlib.Path) -> None:
  """Makes all that a directory holds durable."""
  for path in [directory, *directory.rglob("*")]:
    whole.sync(path)
