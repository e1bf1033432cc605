"""Texts of any length into batches of a few fixed shapes.

Every shape compiles once, so there are few: a handful of lengths, and for each
a handful of row counts.  Many texts are packed, several to a row; of few texts
each has its own, in rows that are hardly longer: whatever computes less.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, Int32

from gtr_jax import packing

# Half steps between the powers of two: a longer row is at most a third padding.
LENGTHS = (16, 32, 48, 64, 96, 128, 192, 256, 384, 512)
_LENGTH_STEP = 128  # Beyond the longest of them.
# Rows that several texts share are full whatever their length: fewer will do.
PACKED_LENGTHS = (64, 128, 256, 512)
_FEW_ROWS = (1, 8, 64)
_MIN_FULL_ROWS = 8
_MIN_SLOTS = 16
_SLOT_TOKENS = 16  # One slot for so many cells of a row, in longer rows.
# Fewer texts than this are not worth looking for the best way, and texts are
# packed where that saves this share of the work: it takes shapes of its own.
_MIN_TEXTS = 4
_LEAST_GAIN = 0.05
# Cells of a row at which attention costs as much as all else a token: 1,400
# fits widths of 512 on a CPU, and a wider model hardly sees attention.
_ATTENTION_LENGTH = 1400


@dataclass(frozen=True)
class Batch:
  """Texts that go through the model together.

  Attributes:
    slots: which text, by its place in the input, stands in each slot of each
      row; -1 for none.
    length: cells of a row.
  """

  slots: Int[np.ndarray, "r S"]
  length: int

  @property
  def texts(self) -> Int[np.ndarray, "n"]:
    """The texts in it, row by row."""
    return self.slots[self.slots >= 0]


@dataclass(frozen=True)
class Room:
  """How much goes into a batch.

  Attributes:
    batch_tokens: cells in a full batch, padding included, on each device.
    num_devices: the rows of a batch are a multiple of it.
  """

  batch_tokens: int
  num_devices: int = 1

  def row_counts(self, num_rows: int, length: int) -> list[int]:
    """Rows of full batches, then the fewest that hold what is left."""
    full = max(_MIN_FULL_ROWS, self.batch_tokens // length)
    counts = [
      rows * self.num_devices for rows in (*_FEW_ROWS, full) if rows <= full
    ]
    num_full, rest = divmod(num_rows, counts[-1])
    last = [next(rows for rows in counts if rows >= rest)] if rest else []
    return num_full * [counts[-1]] + last


def plan(
  lengths: Int[np.ndarray, "n"], room: Room, packs: bool = True
) -> list[Batch]:
  """Batches that hold every text once, but for those of no token.

  Args:
    lengths: tokens of each text.
    room: sizes of the batches.
    packs: whether texts may share rows.
  """
  padded = list(_padded(lengths, room))
  if not packs or len(lengths) < _MIN_TEXTS or not lengths.any():
    return padded
  packed = list(_packed(lengths, room))
  gains = _total(packed) <= (1 - _LEAST_GAIN) * _total(padded)
  return packed if gains else padded


def padded_length(num_tokens: int) -> int:
  """The least fixed length that holds a text."""
  for length in LENGTHS:
    if num_tokens <= length:
      return length
  return -(-num_tokens // _LENGTH_STEP) * _LENGTH_STEP


def fill(
  batch: Batch, texts: packing.Texts
) -> tuple[Int32[np.ndarray, "r L"], Int32[np.ndarray, "r L"]]:
  """The batch's token ids and segments; padding inside a text has none."""
  rows, segments = packing.fill(texts, batch.slots, batch.length)
  segments[rows == 0] = 0
  return rows, segments


def _total(batches: list[Batch]) -> float:
  return sum(_cost(len(batch.slots), batch.length) for batch in batches)


def _cost(num_rows: int, length: int) -> float:
  """What rows take to compute, in tokens of a short row."""
  return num_rows * length * (1 + length / _ATTENTION_LENGTH)


def _padded(lengths: Int[np.ndarray, "n"], room: Room) -> Iterator[Batch]:
  """One text a row, in ascending order of length.

  The texts of a length that would not fill a batch of the next one join it:
  a few texts then are one batch, not one batch a length.
  """
  most = room.batch_tokens * room.num_devices
  waiting = np.zeros(0, np.int64)
  groups = _by_length(lengths)
  for number, (length, texts) in enumerate(groups):
    waiting = np.concatenate([waiting, texts])
    following = groups[number + 1][0] if number + 1 < len(groups) else None
    if following and len(waiting) * following <= most:
      continue
    yield from _cut(waiting[:, None], length, room)
    waiting = waiting[:0]


def _by_length(
  lengths: Int[np.ndarray, "n"],
) -> list[tuple[int, np.ndarray]]:
  """Padded length and its texts, both ascending."""
  order = np.argsort(lengths, kind="stable")
  distinct, counts = np.unique(lengths, return_counts=True)
  padded = np.array([padded_length(int(length)) for length in distinct])
  padded[distinct == 0] = 0
  lengths_in_order = np.repeat(padded, counts)
  return [
    (int(length), order[lengths_in_order == length])
    for length in np.unique(padded)
    if length
  ]


def _packed(lengths: Int[np.ndarray, "n"], room: Room) -> Iterator[Batch]:
  """Several texts a row: those up to some length in rows of that length."""
  shorter = 0
  for length in _best_lengths(lengths, room):
    texts = np.flatnonzero((lengths > shorter) & (lengths <= length))
    places = packing.place(lengths[texts], length, _num_slots(length))
    slots = np.where(places < 0, -1, texts[places])
    yield from _cut(slots, length, room)
    shorter = length


def _best_lengths(lengths: Int[np.ndarray, "n"], room: Room) -> list[int]:
  """The row lengths that make all batches together cost least, ascending.

  Long texts in rows of their own length leave gaps, short ones in long rows
  pay for attention: every way to divide the lengths is tried.
  """
  longest = int(lengths.max())
  ends = [length for length in PACKED_LENGTHS if length < longest]
  ends.append(
    next((e for e in PACKED_LENGTHS if e >= longest), padded_length(longest))
  )
  best: dict[int, tuple[float, list[int]]] = {0: (0.0, [])}
  for end in ends:
    choices = []
    for start, (cost, chosen) in best.items():
      texts = lengths[(lengths > start) & (lengths <= end)]
      if len(texts):
        num_rows = packing.count_rows(texts, end, _num_slots(end))
        counts = room.row_counts(num_rows, end)
        choices.append((cost + _cost(sum(counts), end), [*chosen, end]))
      else:
        choices.append((cost, chosen))
    best[end] = min(choices)
  return best[ends[-1]][1]


def _num_slots(length: int) -> int:
  return max(_MIN_SLOTS, length // _SLOT_TOKENS)


def _cut(
  slots: Int[np.ndarray, "r S"], length: int, room: Room
) -> Iterator[Batch]:
  start = 0
  for num_rows in room.row_counts(len(slots), length):
    part = slots[start : start + num_rows]
    start += len(part)
    missing = ((0, num_rows - len(part)), (0, 0))
    yield Batch(np.pad(part, missing, constant_values=-1), length)
