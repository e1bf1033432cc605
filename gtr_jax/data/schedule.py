"""Which task of a mixture each place of an endless stream is given to.

The stream is cut into periods that are all alike.  In a period each task has
its share of places, as evenly spread as they go, so any run of places holds
nearly each task's share, and where a place belongs is looked up, not counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

PERIOD = 2**20


@dataclass(frozen=True, eq=False)
class Schedule:
  """Shares of tasks, and the places that they get.

  Attributes:
    rates: of each task, above 0; only their proportions count.
    counts: places of each task in a period; every task has at least one.
  """

  rates: Sequence[float]
  counts: np.ndarray = field(init=False)
  _tasks: np.ndarray = field(init=False, repr=False)  # [period]
  _ranks: np.ndarray = field(init=False, repr=False)  # [period]

  def __post_init__(self):
    counts = _counts(self.rates)
    tasks = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    ranks = np.arange(len(tasks)) - np.repeat(
      np.cumsum(counts) - counts, counts
    )
    # A task with c places has them in the middle of the c parts of a period.
    order = np.lexsort((tasks, (2 * ranks + 1) / counts[tasks]))
    object.__setattr__(self, "counts", counts)
    object.__setattr__(self, "_tasks", tasks[order])
    object.__setattr__(self, "_ranks", ranks[order])

  def at(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The task of each place, and how many places it had before."""
    periods, offsets = np.divmod(places, len(self._tasks))
    tasks = self._tasks[offsets]
    return tasks, periods * self.counts[tasks] + self._ranks[offsets]


def _counts(rates: Sequence[float]) -> np.ndarray:
  """Places in a period: the largest remainders are rounded up."""
  shares = np.asarray(rates, np.float64)
  if len(shares) == 1:
    return np.ones(1, np.int64)
  if not (np.isfinite(shares).all() and (shares > 0).all()):
    raise ValueError(
      f"the rates of a mixture are {', '.join(map(str, rates))}: give each task"
      " a number above 0"
    )
  exact = np.maximum(shares / shares.sum() * PERIOD, 1)
  counts = np.floor(exact).astype(np.int64)
  missing = PERIOD - int(counts.sum())
  if missing > 0:
    counts[np.argsort(counts - exact, kind="stable")[:missing]] += 1
  else:  # Small tasks were rounded up to a place: the largest one pays.
    counts[np.argmax(counts)] += missing
  return counts
