"""The largest or smallest number that fits, in few tries."""

from collections.abc import Callable, Sequence

# The search for a batch ends when the next try would gain less than this share.
_PRECISION = 1 / 16


def largest(fits: Callable[[int], bool], start: int, unit: int) -> int | None:
  """The largest multiple of `unit` that fits, to a sixteenth of it.

  What fits is bracketed by doubling or halving from `start`, then halved
  between.  None if not even `unit` fits.

  Args:
    fits: asked once a number; what is larger than one that does not fit does
      not fit.
    start: the first try, rounded down to a multiple.
    unit: of the numbers.
  """
  low = max(start // unit, 1)
  if fits(low * unit):
    high = 2 * low
    while fits(high * unit):
      low, high = high, 2 * high
  else:
    high, low = low, low // 2
    while low and not fits(low * unit):
      high, low = low, low // 2
    if not low:
      return None
  while high - low > max(1, int(low * _PRECISION)):
    middle = (low + high) // 2
    if fits(middle * unit):
      low = middle
    else:
      high = middle
  return low * unit


def smallest(
  fits: Callable[[int], bool], candidates: Sequence[int], start: int
) -> int | None:
  """The smallest candidate that fits; None if none does.

  Args:
    fits: asked once a number; what is larger than one that fits, fits.
    candidates: in ascending order.
    start: the first try, if it is a candidate.
  """
  low, high = -1, len(candidates)  # Known not to fit, known to fit.
  place = candidates.index(start) if start in candidates else high // 2
  while high - low > 1:
    if fits(candidates[place]):
      high = place
    else:
      low = place
    place = (low + high) // 2
  return candidates[high] if high < len(candidates) else None


def chunk_counts(num_rows: int) -> list[int]:
  """Powers of two up to one row a chunk."""
  return [2**power for power in range(num_rows.bit_length())]
