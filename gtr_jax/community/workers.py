"""A function over many things, in several processes, in order."""

import collections
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from gtr_jax.files import processes

Thing = TypeVar("Thing")
Result = TypeVar("Result")

_AHEAD = 2  # Things a process has in hand: memory stays flat.


def map_in_order(
  function: Callable[[Thing], Result],
  things: Iterable[Thing],
  num_workers: int,
) -> Iterator[Result]:
  """What `function` makes of each thing; the first error in order is raised.

  Args:
    function: with several workers, one that can be pickled.
    num_workers: 1 stays in this process.
  """
  if num_workers == 1:
    yield from map(function, things)
    return
  left = iter(things)
  executor = processes.executor(num_workers)
  try:
    waiting = collections.deque(
      executor.submit(function, thing)
      for thing in itertools.islice(left, num_workers * _AHEAD)
    )
    while waiting:
      yield waiting.popleft().result()
      for thing in itertools.islice(left, 1):
        waiting.append(executor.submit(function, thing))
  finally:
    executor.shutdown(cancel_futures=True)
