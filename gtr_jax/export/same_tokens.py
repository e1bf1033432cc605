"""Token ids of an export, which must be the model's own."""

from collections.abc import Sequence

import numpy as np

from gtr_jax.export import original as original_lib
from gtr_jax.types import TowerName


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
    same_pieces = np.array_equal(np.sort(due), np.sort(row[row > 0]))
    if not same_pieces or tokenizer.decode(due) != tokenizer.decode(came):
      raise ValueError(
        f"the export reads the {tower} {text!r:.60} as token ids"
        f" {_shown(row)}, the model as {_shown(due)}; it was not kept"
      )
    count += 1
  return count


def _shown(ids: np.ndarray) -> str:
  shown = ", ".join(map(str, ids[ids > 0][:10]))
  return f"[{shown}{', …' if np.count_nonzero(ids) > 10 else ''}]"
