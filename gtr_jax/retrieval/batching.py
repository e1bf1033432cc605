"""Texts of any length into batches of a few fixed shapes.

Every shape compiles once, so there are few: a handful of lengths, and for each
a handful of row counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, Int32

# Half steps between the powers of two: a longer row is at most a third padding.
LENGTHS = (16, 32, 48, 64, 96, 128, 192, 256, 384, 512)
_LENGTH_STEP = 128  # Beyond the longest of them.
_FEW_ROWS = (1, 8, 64)
_MIN_FULL_ROWS = 8
# The id of EOS in T5's vocabulary; any that is no padding would do.
_DUMMY_ID = 1


@dataclass(frozen=True)
class Batch:
  """Texts that go through the model together.

  Attributes:
    texts: their places in the input; at most `num_rows` of them.
    length: tokens in a row.
    num_rows: rows in the batch, of which the last may be dummies.
  """

  texts: Int[np.ndarray, "n"]
  length: int
  num_rows: int


def plan(
  lengths: Int[np.ndarray, "n"], batch_tokens: int, num_devices: int = 1
) -> list[Batch]:
  """Batches that hold every text once, in ascending order of length.

  The texts of a length that would not fill a batch of the next one join it:
  a few texts then are one batch, not one batch a length.

  Args:
    lengths: tokens of each text.
    batch_tokens: tokens in a full batch, padding included, on each device.
    num_devices: the rows of a batch are a multiple of it.
  """
  batches: list[Batch] = []
  waiting = np.zeros(0, np.int64)
  groups = _by_length(lengths)
  for number, (length, texts) in enumerate(groups):
    waiting = np.concatenate([waiting, texts])
    following = groups[number + 1][0] if number + 1 < len(groups) else None
    if following and len(waiting) * following <= batch_tokens * num_devices:
      continue
    batches += _cut(waiting, length, batch_tokens, num_devices)
    waiting = waiting[:0]
  return batches


def padded_length(num_tokens: int) -> int:
  """The least fixed length that holds a text."""
  for length in LENGTHS:
    if num_tokens <= length:
      return length
  return _round_up(num_tokens, _LENGTH_STEP)


def fill(
  batch: Batch, rows: Sequence[Int32[np.ndarray, "_"]]
) -> Int32[np.ndarray, "n L"]:
  """The batch's token ids, zeros behind each text.

  A dummy row and a text without tokens are one token: no row is all padding,
  whose mean a model may not survive.
  """
  tokens = np.zeros((batch.num_rows, batch.length), np.int32)
  for row, text in zip(tokens, batch.texts.tolist(), strict=False):
    row[: len(rows[text])] = rows[text]
    if not len(rows[text]):
      row[0] = _DUMMY_ID
  tokens[len(batch.texts) :, 0] = _DUMMY_ID
  return tokens


def _by_length(
  lengths: Int[np.ndarray, "n"],
) -> list[tuple[int, np.ndarray]]:
  """Padded length and its texts, both ascending."""
  order = np.argsort(lengths, kind="stable")
  distinct, counts = np.unique(lengths, return_counts=True)
  padded = np.array([padded_length(int(length)) for length in distinct])
  lengths_in_order = np.repeat(padded, counts)
  return [
    (int(length), order[lengths_in_order == length])
    for length in np.unique(padded)
  ]


def _cut(
  texts: Int[np.ndarray, "n"], length: int, batch_tokens: int, num_devices: int
) -> list[Batch]:
  """Full batches, and a last one of the least row count that will do."""
  full = max(_MIN_FULL_ROWS, batch_tokens // length)
  counts = [rows * num_devices for rows in (*_FEW_ROWS, full) if rows <= full]
  batches = []
  for start in range(0, len(texts), counts[-1]):
    part = texts[start : start + counts[-1]]
    num_rows = next(rows for rows in counts if rows >= len(part))
    batches.append(Batch(part, length, num_rows))
  return batches


def _round_up(number: int, multiple: int) -> int:
  return -(-number // multiple) * multiple
