"""Worker processes that never outlive the program that started them."""

import concurrent.futures
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable


def executor(
  num_workers: int,
  initializer: Callable[..., None] | None = None,
  arguments: tuple = (),
) -> concurrent.futures.ProcessPoolExecutor:
  """So many processes; they end when this one does, however it does.

  They are started anew, not forked: a process with threads, as JAX has them,
  cannot be.

  Args:
    initializer: called in each process with `arguments`.
  """
  return concurrent.futures.ProcessPoolExecutor(
    num_workers,
    multiprocessing.get_context("spawn"),
    _begin,
    (initializer, arguments),
  )


def _begin(initializer: Callable[..., None] | None, arguments: tuple) -> None:
  # Ctrl-C goes to all processes of a terminal; the first one ends the others.
  signal.signal(signal.SIGINT, signal.SIG_IGN)
  threading.Thread(target=_end_with_parent, daemon=True).start()
  if initializer is not None:
    initializer(*arguments)


def _end_with_parent() -> None:
  """A worker waits for work for ever if the one that gives it was killed."""
  parent = multiprocessing.parent_process()
  if parent is not None:
    parent.join()
    os._exit(1)
