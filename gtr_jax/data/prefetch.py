"""Batches made ahead of time, in a thread, without losing the place."""

import collections
import threading
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gtr_jax.types import Batches, HostBatch


@dataclass(eq=False)
class Prefetched:
  """A stream whose next batches are made while the last one is used.

  Satisfies `types.Batches`: the position is the one after the last batch that
  was handed out, not the last that was made.  An error while a batch is made
  is raised by the `__next__` that would have returned it, and again after it.

  Use it as a context manager or call `close`; it may be used again afterwards
  and continues where it was.

  Attributes:
    batches: the stream; nobody else may touch it while this one is open.
    depth: most batches held, at least 1.
  """

  batches: Batches
  depth: int
  _position: dict[str, Any] = field(init=False)
  _ahead: "_Ahead | None" = field(default=None, init=False)
  _end: Callable[[], Any] = field(default=lambda: None, init=False)

  def __post_init__(self):
    if self.depth < 1:
      raise ValueError(f"depth is {self.depth}: hold 1 batch or more")
    self._position = self.batches.position()

  def __next__(self) -> HostBatch:
    if self._ahead is None:
      self._ahead = _Ahead(self.batches, self.depth)
      # A stream that is dropped without `close` must not leave its thread.
      self._end = weakref.finalize(self, self._ahead.stop)
    batch, self._position = self._ahead.take()
    return batch

  def position(self) -> dict[str, Any]:
    return self._position

  def restore(self, position: Mapping[str, Any]) -> None:
    self.close()
    self.batches.restore(position)
    self._position = self.batches.position()

  def close(self) -> None:
    """Ends the thread; the stream goes back to the last batch handed out."""
    if self._ahead is not None:
      self._end()
      self._ahead = None
      self.batches.restore(self._position)

  def __enter__(self) -> "Prefetched":
    return self

  def __exit__(self, *unused_error: object) -> None:
    self.close()


def prefetch(batches: Batches, depth: int = 2) -> Prefetched:
  """The same stream, `depth` batches of it made ahead of time."""
  return Prefetched(batches, depth)


class _Ahead:
  """A running thread and what it has made; knows nothing of `Prefetched`."""

  def __init__(self, batches: Batches, depth: int):
    self._made = collections.deque()
    self._error: BaseException | None = None
    self._stopped = False
    self._changed = threading.Condition()
    self._thread = threading.Thread(
      target=self._run, args=(batches, depth), daemon=True, name="prefetch"
    )
    self._thread.start()

  def take(self) -> tuple[HostBatch, dict[str, Any]]:
    with self._changed:
      self._changed.wait_for(lambda: self._made or self._error)
      if self._error is not None and not self._made:
        raise self._error
      self._changed.notify_all()
      return self._made.popleft()

  def stop(self) -> None:
    with self._changed:
      self._stopped = True
      self._changed.notify_all()
    # Garbage collection may drop a stream in the very thread that fills it.
    if threading.current_thread() is not self._thread:
      self._thread.join()

  def _run(self, batches: Batches, depth: int) -> None:
    while self._wait_for_room(depth):
      try:
        entry = next(batches), batches.position()
      except BaseException as error:
        self._finish(error)
        return
      with self._changed:
        self._made.append(entry)
        self._changed.notify_all()

  def _wait_for_room(self, depth: int) -> bool:
    """True once there is room, False once stopped."""
    with self._changed:
      self._changed.wait_for(lambda: self._stopped or len(self._made) < depth)
      return not self._stopped

  def _finish(self, error: BaseException) -> None:
    with self._changed:
      self._error = error
      self._changed.notify_all()
