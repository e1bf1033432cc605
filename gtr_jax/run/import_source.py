"""What `gtr import` reads: a checkpoint of any format, opened."""

import dataclasses
import os
import pathlib
from collections.abc import Callable

from gtr_jax.checkpoints import huggingface, sentence_transformers
from gtr_jax.run import other_libraries


def hint(form: str, path: str | os.PathLike[str]) -> str:
  """Where a projection may be that was not looked for; else nothing."""
  beside = pathlib.Path(path) / sentence_transformers.MODULES_FILE
  if form == "huggingface" and beside.is_file():
    return f"; {beside.name} is there: use --format=sentence-transformers"
  return ""


def open_checkpoint(
  form: str,
  path: str | os.PathLike[str],
  max_distance: int | None,
  say: Callable[[str], None],
) -> huggingface.Checkpoint:
  """A checkpoint, its arrays still on disk.

  Args:
    form: t5x, huggingface or sentence-transformers.
    path: a folder, gs://bucket/path (t5x), or a name on the Hub (the others).
    max_distance: of relative positions, which T5X's own checkpoints do not
      tell.
    say: takes lines for the user.

  Raises:
    ValueError: nothing of that format there, or a broken piece.
  """
  try:
    opened = other_libraries.read(form, path, say)
  except ValueError as error:
    folder = pathlib.Path(path)
    seen = other_libraries.format_of(folder) if folder.is_dir() else None
    # A folder of sentence-transformers is one of Hugging Face as well.
    is_both = (form, seen) == ("huggingface", "sentence-transformers")
    if seen in (None, form) or is_both:
      raise
    raise ValueError(f"{error}; it looks like --format={seen}") from None
  is_told = form != "t5x" or other_libraries.t5x_export_of(path) is not None
  if is_told or max_distance is None:
    return opened
  return dataclasses.replace(opened, max_distance=max_distance)
