"""Token ids of an export, which must be the model's own."""

import collections
from collections.abc import Callable, Sequence

import numpy as np

from gtr_jax.export import original as original_lib
from gtr_jax.types import TowerName

# Pieces of a tie, of which a cut leaves some to one reading alone.
_MOST_CUT = 2


def num_ties(
  original: original_lib.Original,
  texts: Sequence[str],
  tokens: np.ndarray,
  tower: TowerName,
) -> int:
  """How many rows are ties: see `check.Comparison`.

  Raises:
    ValueError: a row that is another reading of its text, or a matrix that is
      not as long as the longest text.
  """
  tokenizer, length = original.tokenizer, original.length(tower)
  rows, _ = tokenizer.encode(texts, length, tower)
  longest = max(map(len, rows))
  if tokens.shape != (len(rows), longest):
    raise ValueError(
      f"the export's token ids of {len(rows)} {tower} texts are"
      f" {list(tokens.shape)}, due is {[len(rows), longest]}; it was not kept"
    )
  count = 0
  for text, due, row in zip(texts, rows, tokens, strict=True):
    came = row[: len(due)]
    if np.array_equal(due, came) and not row[len(due) :].any():
      continue
    # Of another vocabulary: decoding such ids is an error of its own.
    is_known = row.max() < tokenizer.vocab_size
    if not is_known or not is_tie(tokenizer.decode, due, row[row > 0], length):
      raise ValueError(
        f"the export reads the {tower} {text!r:.60} as token ids"
        f" {_shown(row)}, the model as {_shown(due)}; it was not kept"
      )
    count += 1
  return count


def is_tie(
  decode: Callable[[np.ndarray], str],
  due: np.ndarray,
  came: np.ndarray,
  length: int,
) -> bool:
  """Whether two readings of a text are the same pieces in another order.

  A reading that is cut to `length` may end within a tie: "!" where the other
  one ends in "!!!!!".
  """
  text, other = decode(due), decode(came)
  pieces = collections.Counter(due.tolist())
  num_strange = (pieces - collections.Counter(came.tolist())).total()
  if not num_strange:
    return len(due) == len(came) and text == other
  is_cut = len(due) == len(came) == length
  begins_alike = text.startswith(other) or other.startswith(text)
  return is_cut and num_strange <= _MOST_CUT and begins_alike


def _shown(ids: np.ndarray) -> str:
  shown = ", ".join(map(str, ids[ids > 0][:10]))
  return f"[{shown}{', …' if np.count_nonzero(ids) > 10 else ''}]"
