"""Other libraries' checkpoints: T5X, Hugging Face, sentence-transformers."""

import dataclasses
import os
import pathlib
from collections.abc import Callable

from gtr_jax.checkpoints import (
  hub,
  huggingface,
  names,
  sentence_transformers,
  t5x,
  tokenizer_json,
)
from gtr_jax.data import vocabulary
from gtr_jax.export import t5x_gin, towers

# T5's own, and that of all models in gin_configs/: no array tells it, and T5X
# keeps it elsewhere.
T5_MAX_DISTANCE = 128
READERS = {
  "huggingface": huggingface.read,
  "sentence-transformers": sentence_transformers.read,
}


def read(
  form: str, path: str | os.PathLike[str], say: Callable[[str], None]
) -> huggingface.Checkpoint:
  """Opens a checkpoint; arrays stay on disk.

  Args:
    form: "t5x", which tells arrays and step alone but for an export of ours, or
      a key of `READERS`.
    path: a folder; of T5X also gs://bucket/path, of others a name on the Hub.
    say: takes lines for the user.

  Raises:
    ValueError: nothing of the kind there; in one line.
  """
  if form == "t5x":
    return _of_t5x(path)
  return READERS[form](hub.folder_of(path), say)


def _of_t5x(path: str | os.PathLike[str]) -> huggingface.Checkpoint:
  """Arrays and step, and what `gtr export` wrote beside them, if it did."""
  opened = t5x.open_t5x(path, with_optimizer_state=False)
  arrays = names.flatten(opened.params)
  checkpoint = huggingface.Checkpoint(
    arrays, unused=(), max_distance=T5_MAX_DISTANCE, step=opened.step
  )
  folder = t5x_export_of(path)
  if folder is None:
    return checkpoint
  told = towers.read(folder)
  return dataclasses.replace(
    checkpoint,
    max_distance=t5x_gin.read(folder / t5x_gin.MODEL_FILE).max_distance,
    vocabulary=huggingface.vocabulary_of(folder),
    query_prompt=told["query"].prompt,
    passage_prompt=told["passage"].prompt,
  )


def t5x_export_of(path: str | os.PathLike[str]) -> pathlib.Path | None:
  """The folder of `gtr export --format=t5x` that a checkpoint is in, or is."""
  for folder in (pathlib.Path(path), pathlib.Path(path).parent):
    files = (folder / t5x_gin.MODEL_FILE, folder / towers.TOWERS_FILE)
    if all(file.is_file() for file in files):
      return folder
  return None


def format_of(path: str | os.PathLike[str]) -> str | None:
  """The format of a place, None if it is none of another library's."""
  if os.fspath(path).startswith(hub.PREFIX):
    path = hub.folder_of(path)
  folder = pathlib.Path(path)
  if (folder / sentence_transformers.MODULES_FILE).is_file():
    return "sentence-transformers"
  if (folder / huggingface.CONFIG_FILE).is_file():
    return "huggingface"
  return "t5x" if t5x.is_checkpoint(folder) else None


def vocabulary_of(path: str | os.PathLike[str]) -> pathlib.Path | None:
  """What `tokenizer` reads beside the weights, None if there is nothing."""
  folder = hub.folder_of(path)
  found = (folder, folder / "0_Transformer")
  return next(filter(None, map(huggingface.vocabulary_of, found)), None)


def tokenizer(
  path: str | os.PathLike[str], query_prompt: str = "", passage_prompt: str = ""
) -> vocabulary.Tokenizer:
  """The tokenizer of a SentencePiece model or a tokenizer.json.

  Raises:
    ValueError: neither, or a broken one.
  """
  file = pathlib.Path(path)
  if file.name != tokenizer_json.FILE:
    return vocabulary.load(file, query_prompt, passage_prompt)
  try:
    return vocabulary.Tokenizer(
      tokenizer_json.sentence_piece(file), query_prompt, passage_prompt
    )
  except ValueError as error:
    message = str(error)
    place = "" if message.startswith(str(file)) else f"{file}: "
    raise ValueError(f"{place}{message}") from None


def inherited_tokenizer(path: pathlib.Path) -> vocabulary.Tokenizer:
  """`tokenizer` with the prompts of the folder that `vocabulary_of` looked in.

  Raises:
    ValueError: a broken file.
  """
  for folder in (path.parent, path.parent.parent):
    if (folder / sentence_transformers.MODULES_FILE).is_file():
      return tokenizer(path, *sentence_transformers.prompts(folder))
  return tokenizer(path)
