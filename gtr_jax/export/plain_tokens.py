"""Texts to token ids by sentencepiece and towers.json alone, as cards tell."""

import json
import pathlib
from collections.abc import Callable, Sequence

import numpy as np
import sentencepiece
from jaxtyping import Int32


def reader(
  folder: pathlib.Path,
) -> Callable[[Sequence[str], str], Int32[np.ndarray, "n l"]]:
  """A function of texts and a tower; rows are as long as the longest text.

  Args:
    folder: with spiece.model and towers.json, complete.
  """
  pieces = sentencepiece.SentencePieceProcessor(
    model_file=str(folder / "spiece.model")
  )
  towers = json.loads((folder / "towers.json").read_text(encoding="utf-8"))

  def token_ids(texts: Sequence[str], tower: str) -> np.ndarray:
    prompt, length = towers[tower]["prompt"], towers[tower]["length"]
    rows = pieces.encode([prompt + text for text in texts])
    # Some vocabularies have pieces at 0, which is padding.
    rows = [[i for i in row if i > 0][: length - 1] for row in rows]
    longest = max(map(len, rows), default=-1) + 1
    ids = np.zeros((len(rows), longest), np.int32)
    for row, new in zip(ids, rows, strict=True):
      row[: len(new) + 1] = [*new, pieces.eos_id()]
    return ids

  return token_ids
