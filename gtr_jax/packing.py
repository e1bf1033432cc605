"""Texts of any length into rows of a fixed number of cells, end to end.

A row of padding costs what a row of tokens costs, so several texts share one.
Which text goes where depends on the lengths alone, and is found on their
histogram: the time hardly grows with the number of texts.
"""

import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, Int32

# How often a row is filled so, and its (tokens of a text, texts so long).
_Pattern = tuple[int, list[tuple[int, int]]]


@dataclass(frozen=True, eq=False)
class Texts:
  """Texts that lie somewhere in flat arrays of token ids.

  Attributes:
    arrays: tokens of these texts, and of others.
    array_of: in which of the arrays each text lies.
    starts: where each text begins there.
    sizes: tokens of each; 0 is no text, wherever it begins.
  """

  arrays: Sequence[Int[np.ndarray, "_"]]
  array_of: Int[np.ndarray, "n"]
  starts: Int[np.ndarray, "n"]
  sizes: Int[np.ndarray, "n"]

  def __len__(self) -> int:
    return len(self.sizes)

  def __getitem__(self, part: slice | Int[np.ndarray, "m"]) -> "Texts":
    return Texts(
      self.arrays, self.array_of[part], self.starts[part], self.sizes[part]
    )

  def tokens(self) -> Int[np.ndarray, "cells"]:
    """The tokens of all texts, end to end."""
    ends = np.cumsum(self.sizes)
    total = int(ends[-1]) if len(ends) else 0
    # From a token's place among these to its place in its array.
    shifts = self.starts - (ends - self.sizes)
    places = np.arange(total) + np.repeat(shifts, self.sizes)
    if len(self.arrays) == 1:
      return self.arrays[0][places]
    tokens = np.empty(total, np.int32)
    arrays = np.repeat(self.array_of, self.sizes)
    for number in np.unique(self.array_of):
      here = np.flatnonzero(arrays == number)
      tokens[here] = self.arrays[number][places[here]]
    return tokens


def from_array(
  tokens: Int[np.ndarray, "cells"],
  starts: Int[np.ndarray, "n"],
  sizes: Int[np.ndarray, "n"],
) -> Texts:
  """Texts that lie in one array."""
  return Texts((tokens,), np.zeros(len(sizes), np.int32), starts, sizes)


def from_arrays(texts: Sequence[Int[np.ndarray, "_"]]) -> Texts:
  """Texts of a list of arrays of token ids."""
  sizes = np.fromiter(map(len, texts), np.int64, len(texts))
  tokens = np.concatenate([np.zeros(0, np.int32), *texts])
  return from_array(tokens, np.cumsum(sizes) - sizes, sizes)


def count_rows(
  sizes: Int[np.ndarray, "n"], row_length: int, max_texts: int
) -> int:
  """Rows that `place` takes, without placing."""
  counts = _histogram(sizes, row_length)
  return sum(times for times, _ in _patterns(counts, row_length, max_texts))


def place(
  sizes: Int[np.ndarray, "n"],
  row_length: int,
  max_texts: int,
  num_rows: int | None = None,
) -> Int32[np.ndarray, "r S"]:
  """Which text stands in each slot of each row; -1 for none.

  Every text of 1 token or more has one slot, a text of none has no slot.  The
  texts of a row have the first slots; the fullest rows come first.

  Args:
    sizes: tokens of each text.
    row_length: cells of a row.
    max_texts: S, slots of a row.
    num_rows: r; None takes as many as the texts need.

  Raises:
    ValueError: a text is longer than a row, or the texts need more rows.
  """
  counts = _histogram(sizes, row_length)
  patterns = list(_patterns(counts, row_length, max_texts))
  needed = sum(times for times, _ in patterns)
  if num_rows is None:
    num_rows = needed
  if needed > num_rows:
    raise ValueError(
      f"{len(sizes)} texts need {needed} rows of {row_length} tokens, there are"
      f" {num_rows}: give at least as many"
    )
  # The texts of a length stand together; which of them is next to be placed?
  keys = sizes.astype(np.min_scalar_type(row_length))  # Few bits sort faster.
  order = np.argsort(keys, kind="stable").astype(np.int32)
  following = np.cumsum(counts) - counts
  slots = np.full((num_rows, max_texts), -1, np.int32)
  row = 0
  for times, items in patterns:
    slot = 0
    for size, copies in items:
      first = following[size]
      following[size] = last = first + times * copies
      block = slots[row : row + times, slot : slot + copies]
      block[:] = order[first:last].reshape(times, copies)
      slot += copies
    row += times
  return slots


def fill(
  texts: Texts, slots: Int32[np.ndarray, "r S"], row_length: int
) -> tuple[Int32[np.ndarray, "r L"], Int32[np.ndarray, "r L"]]:
  """Rows of token ids and of segments, both 0 where no text is.

  A segment is the slot of its text, counted from 1.

  Args:
    texts: what to write.
    slots: as `place` gives it.
    row_length: L.
  """
  taken = slots >= 0
  placed = texts[slots[taken]]  # In the order of the cells.
  per_row = np.where(taken, texts.sizes[slots], 0).sum(axis=1)  # [r]
  cells = np.arange(row_length) < per_row[:, None]  # [r, L]
  rows = np.zeros(cells.shape, np.int32)
  rows[cells] = placed.tokens()
  segments = np.zeros(cells.shape, np.int32)
  of_slot = np.broadcast_to(1 + np.arange(slots.shape[1]), slots.shape)[taken]
  segments[cells] = np.repeat(of_slot, placed.sizes)
  return rows, segments


def _histogram(
  sizes: Int[np.ndarray, "n"], row_length: int
) -> Int[np.ndarray, "L+1"]:
  """How many texts have 0, 1 … `row_length` tokens."""
  longest = int(sizes.max(initial=0))
  if longest > row_length:
    raise ValueError(
      f"a text has {longest} tokens, a row {row_length}: give rows as long as"
      " the longest text"
    )
  return np.bincount(sizes, minlength=row_length + 1)


def _patterns(
  counts: Int[np.ndarray, "L+1"], row_length: int, max_texts: int
) -> Iterator[_Pattern]:
  """First-fit decreasing, a kind of row at a time instead of a text.

  A row takes the longest text there is, then the longest that still fits, and
  so on; a row filled so is repeated while there are texts enough.  So a
  pattern costs one length its texts, and there are not many more patterns than
  lengths.
  """
  left = counts.tolist()
  lengths = [size for size, count in enumerate(left) if size and count]
  while lengths:
    room, slots, items = row_length, max_texts, []
    place = len(lengths)
    while slots:
      # The next one is shorter: no more of the last fitted, or were left.
      place = bisect.bisect_right(lengths, room, 0, place) - 1
      if place < 0:
        break
      size = lengths[place]
      copies = min(left[size], room // size, slots)
      items.append((size, copies))
      room -= size * copies
      slots -= copies
    times = min(left[size] // copies for size, copies in items)
    for size, copies in items:
      left[size] -= times * copies
      if not left[size]:
        lengths.remove(size)
    yield times, items
