"""Folders that are made once, whole or not at all; what is in folders."""

import errno
import os
import pathlib
import shutil
import socket
import tempfile
from collections.abc import Callable
from typing import NoReturn

from gtr_jax.files import lock, whole


def search(
  folder: pathlib.Path, is_wanted: Callable[[pathlib.Path], bool]
) -> list[pathlib.Path]:
  """The files below a folder that are wanted, sorted.

  Links to folders are followed, and no folder is entered twice.

  Args:
    is_wanted: by its name.

  Raises:
    ValueError: a wanted file is a link that leads nowhere.
    OSError: a folder cannot be read.
  """

  def refuse(error: OSError) -> NoReturn:
    raise error

  entered: set[str] = set()
  found = []
  for directory, inner, names in os.walk(
    folder, onerror=refuse, followlinks=True
  ):
    real = os.path.realpath(directory)
    if real in entered:
      inner.clear()
      continue
    entered.add(real)
    inner.sort()
    found += filter(is_wanted, (pathlib.Path(directory, n) for n in names))
  for file in found:
    if not file.exists():
      raise ValueError(
        f"{file}: is a link that leads nowhere: repair it or take it away"
      )
  return sorted(found)


def make_once(
  folder: pathlib.Path, marker: str, make: Callable[[pathlib.Path], None]
) -> None:
  """Makes a folder unless it is there, whole.

  Several processes may ask for the same folder at once: on one machine one of
  them makes it; across machines that share the disk the first one counts.

  Args:
    marker: a file that every whole folder holds.
    make: fills an empty folder, which is then renamed.  Called only if there is
      something to make; if it fails nothing is left.
  """
  if (folder / marker).exists():
    return
  folder.parent.mkdir(parents=True, exist_ok=True)
  # Where the file system has no locks the rename still decides.
  with lock.held(folder.parent / f".{folder.name}.lock"):
    if not (folder / marker).exists():
      shutil.rmtree(folder, ignore_errors=True)
      _make(folder, make)


def _make(folder: pathlib.Path, make: Callable[[pathlib.Path], None]) -> None:
  prefix = f".{folder.name}.{socket.gethostname()}."
  for abandoned in folder.parent.glob(f"{prefix}*.tmp"):
    shutil.rmtree(abandoned, ignore_errors=True)  # We hold the lock.
  temporary = pathlib.Path(
    tempfile.mkdtemp(prefix=prefix, suffix=".tmp", dir=folder.parent)
  )
  try:
    make(temporary)
    temporary.chmod(0o755)  # mkdtemp's folder is for one user only.
    _rename_unless_there(temporary, folder)
  finally:
    shutil.rmtree(temporary, ignore_errors=True)


def _rename_unless_there(temporary: pathlib.Path, folder: pathlib.Path) -> None:
  try:
    os.rename(temporary, folder)
  except OSError as error:
    if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
      raise
  whole.sync(folder.parent)
