"""Locks between the processes of one machine; a kill lets them go."""

import contextlib
import fcntl
import pathlib
from collections.abc import Iterator


@contextlib.contextmanager
def held(path: pathlib.Path, refusal: str | None = None) -> Iterator[None]:
  """Holds the lock of a file, which is made if it is not there.

  Some network file systems have no locks; there it keeps nobody out.

  Args:
    refusal: what the error says where another process holds it; None waits.

  Raises:
    ValueError: another process holds it, and there is a refusal.
  """
  with path.open("wb") as stream:
    try:
      fcntl.flock(stream, fcntl.LOCK_EX | (fcntl.LOCK_NB if refusal else 0))
    except BlockingIOError:
      raise ValueError(refusal) from None
    except OSError:
      pass
    yield
