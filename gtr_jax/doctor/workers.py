"""Measuring on all cores, in order, with few chunks under way."""

import collections
import functools
import itertools
import os
import pathlib
import pickle
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent import futures

from gtr_jax.data.pair import Pair
from gtr_jax.doctor.measurement import Chunk, Measurement
from gtr_jax.files import processes

# A process takes a second to start: less work than that is done here.
_CHUNKS_AT_HOME = 16


def measured(
  measurement: Measurement,
  chunks: Iterable[Sequence[Pair]],
  folder: pathlib.Path,
  num_processes: int | None = None,
) -> Iterator[tuple[Sequence[Pair], Chunk]]:
  """Each chunk with what was measured of it, in order.

  Args:
    folder: where processes find the measurement.
    num_processes: beside this one; None takes a core each and leaves one.
  """
  if num_processes is None:
    num_processes = max(len(os.sched_getaffinity(0)) - 1, 1)
  chunks = iter(chunks)
  first = list(itertools.islice(chunks, _CHUNKS_AT_HOME))
  small = len(first) < _CHUNKS_AT_HOME
  if num_processes == 0 or small or not _can_start():
    yield from ((chunk, measurement(chunk)) for chunk in first)
    yield from ((chunk, measurement(chunk)) for chunk in chunks)
    return
  path = folder / "measurement.pickle"
  path.write_bytes(pickle.dumps(measurement))
  with processes.executor(num_processes) as pool:
    waiting: collections.deque[tuple[Sequence[Pair], futures.Future[Chunk]]] = (
      collections.deque()
    )
    try:
      for chunk in itertools.chain(first, chunks):
        waiting.append((chunk, pool.submit(_measure, path, chunk)))
        if len(waiting) > num_processes + 2:
          done, result = waiting.popleft()
          yield done, result.result()
      while waiting:
        done, result = waiting.popleft()
        yield done, result.result()
    finally:
      for _, result in waiting:
        result.cancel()


def _can_start() -> bool:
  """Whether a new process can read the program that runs; from a pipe, no."""
  file = getattr(sys.modules["__main__"], "__file__", None)
  return file is None or os.path.exists(file)


def _measure(path: pathlib.Path, chunk: Sequence[Pair]) -> Chunk:
  return _measurement(path)(chunk)


@functools.lru_cache(maxsize=1)
def _measurement(path: pathlib.Path) -> Measurement:
  # Written by the process that started this one.
  return pickle.loads(path.read_bytes())
