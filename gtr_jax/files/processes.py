"""Worker processes that never outlive the program that started them."""

import concurrent.futures
import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator


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
  with _deaf():
    pool = concurrent.futures.ProcessPoolExecutor(
      num_workers,
      multiprocessing.get_context("spawn"),
      _begin,
      (initializer, arguments),
    )
    for _ in range(num_workers):
      pool.submit(os.getpid)  # Starts another one: none is idle yet.
  return pool


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
  """What starts in here never hears a Ctrl-C, also not while it starts.

  It goes to all processes of a terminal, and the first one ends the others.
  """
  if threading.current_thread() is not threading.main_thread():
    yield  # Others may not change it.
    return
  before = signal.signal(signal.SIGINT, signal.SIG_IGN)
  try:
    yield
  finally:
    signal.signal(signal.SIGINT, before)


def _begin(initializer: Callable[..., None] | None, arguments: tuple) -> None:
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
