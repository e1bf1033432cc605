"""Folders that are on disk whole or not at all, made once."""

import errno
import os
import pathlib
import shutil
import socket
import tempfile
from collections.abc import Callable

from gtr_jax.files import lock, whole


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
