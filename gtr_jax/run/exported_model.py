"""Exported folders as encoders: whatever computes, the interface is one."""

import importlib
import json
import os
import pathlib
from typing import Any

from gtr_jax.checkpoints import huggingface
from gtr_jax.data import vocabulary
from gtr_jax.export import placement
from gtr_jax.retrieval import encode, foreign_towers
from gtr_jax.run import native_noise

# Format: the module under gtr_jax.export that opens it.  Folders of
# sentence-transformers hold weights, which our own model reads.
_PROGRAMS = {
  "onnx": "onnx_model",
  "savedmodel": "saved_model",
  "stablehlo": "stablehlo",
  "t5x": "t5x",
}
# What an encoder takes from an export's description.
_SAID = (
  "query_length",
  "passage_length",
  "query_prompt",
  "passage_prompt",
  "vocab_size",
  "checkpoint_hash",
  "step",
)
# Where a SavedModel keeps what is not its own.
_EXTRA = "assets.extra"


def is_program(path: str | os.PathLike[str]) -> bool:
  """Whether a folder was made by `gtr export` and runs elsewhere than here."""
  description = pathlib.Path(path) / placement.DESCRIPTION_FILE
  return description.is_file() and _read(description)["format"] in _PROGRAMS


def encoder(
  path: str | os.PathLike[str],
  query_length: int | None = None,
  passage_length: int | None = None,
) -> encode.Encoder:
  """An encoder of texts that computes as the folder's users do.

  Args:
    path: the folder.
    query_length, passage_length: tokens that are read; None is what it was
      exported for.

  Raises:
    ValueError: a broken folder, or a library that is not installed.
  """
  folder = pathlib.Path(path)
  description = _read(folder / placement.DESCRIPTION_FILE, *_SAID)
  form = description["format"]
  try:
    with native_noise.held_back():
      module = importlib.import_module(f"gtr_jax.export.{_PROGRAMS[form]}")
      function = module.open_towers(folder)
  except ModuleNotFoundError as error:
    raise ValueError(
      f"{folder}: reading {form} needs {error.name}, which is not installed:"
      " pip install 'gtr_jax[export,interop]'"
    ) from error
  except ValueError:
    raise
  except Exception as error:  # Each library has kinds of its own.
    reason = " ".join(str(error).split())
    raise ValueError(
      f"{folder}: broken or cut, {form} is not read ({reason:.200}); export"
      " again"
    ) from error
  return encode.Encoder(
    foreign_towers.ForeignTowers(function),
    _tokenizer(folder, description),
    description["query_length"] if query_length is None else query_length,
    description["passage_length"] if passage_length is None else passage_length,
    description["vocab_size"],
    description["checkpoint_hash"],
    description["step"],
  )


def _read(path: pathlib.Path, *keys: str) -> dict[str, Any]:
  try:
    content = json.loads(path.read_text(encoding="utf-8"))
    for key in ("format", *keys):
      content[key]
  except (ValueError, KeyError, TypeError) as error:
    raise ValueError(
      f"{path}: broken, cut or of an older gtr_jax, no description of an export"
      f" ({error!r}); export again"
    ) from None
  return content


def _tokenizer(
  folder: pathlib.Path, description: dict[str, Any]
) -> vocabulary.Tokenizer:
  places = (folder, folder / _EXTRA)
  name = huggingface.VOCABULARY_FILE
  found = next((p / name for p in places if (p / name).is_file()), None)
  if found is None:
    raise ValueError(f"{folder}: holds no {name}; export again")
  return vocabulary.load(
    found, description["query_prompt"], description["passage_prompt"]
  )
