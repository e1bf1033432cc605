"""Checkpoints of Hugging Face and sentence-transformers, by their folder."""

import os
import pathlib
from collections.abc import Callable

from gtr_jax.checkpoints import (
  hub,
  huggingface,
  sentence_transformers,
)

READERS = {
  "huggingface": huggingface.read,
  "sentence-transformers": sentence_transformers.read,
}


def read(
  form: str, path: str | os.PathLike[str], say: Callable[[str], None]
) -> huggingface.Checkpoint:
  """Opens a checkpoint of one of `READERS`; arrays stay on disk.

  Args:
    form: a key of `READERS`.
    path: a folder, or a name on the Hub.
    say: takes lines for the user.

  Raises:
    ValueError: nothing of the kind there; in one line.
  """
  return READERS[form](hub.folder_of(path), say)


def format_of(path: str | os.PathLike[str]) -> str | None:
  """Which of `READERS` reads a place, None if it is not theirs."""
  if os.fspath(path).startswith(hub.PREFIX):
    path = hub.folder_of(path)
  folder = pathlib.Path(path)
  if (folder / sentence_transformers.MODULES_FILE).is_file():
    return "sentence-transformers"
  if (folder / huggingface.CONFIG_FILE).is_file():
    return "huggingface"
  return None


def vocabulary_of(path: str | os.PathLike[str]) -> pathlib.Path | None:
  """The SentencePiece model beside the weights, None if there is none."""
  folder = hub.folder_of(path)
  for found in (folder, folder / "0_Transformer"):
    if (found / huggingface.VOCABULARY_FILE).is_file():
      return found / huggingface.VOCABULARY_FILE
  return None
