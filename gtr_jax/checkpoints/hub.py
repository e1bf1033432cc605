"""Models by their name on the Hugging Face Hub, such as "org/model"."""

import importlib
import os
import pathlib
import re
from typing import Any

PREFIX = "hf://"
_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_FILES = ["*.json", "*.safetensors", "*.model"]


def folder_of(path: str | os.PathLike[str]) -> pathlib.Path:
  """The folder of a path, fetched if it is a name on the Hub.

  A folder that is there is taken; only then "org/model" is a name, and
  "hf://org/model" always is.

  Raises:
    ValueError: neither, or `huggingface_hub` is not installed or refuses.
  """
  text = os.fspath(path)
  folder = pathlib.Path(text)
  name = text.removeprefix(PREFIX)
  if not text.startswith(PREFIX):
    if folder.is_dir():
      return folder
    if "://" in text:
      raise ValueError(
        f"{text}: of Hugging Face's formats a folder is due, or hf://org/name;"
        " copy it to this machine first"
      )
    if folder.is_file():
      raise ValueError(f"{text}: is a file; give the folder that it is in")
    if folder.is_absolute() or not _NAME.fullmatch(name):
      raise ValueError(f"{text}: no such folder")
  return _fetched(name)


def _fetched(name: str) -> pathlib.Path:
  try:
    library: Any = importlib.import_module("huggingface_hub")
  except ModuleNotFoundError:
    raise ValueError(
      f"{name}: no such folder; to take it for a name on the Hub: pip install"
      " huggingface_hub"
    ) from None
  try:
    folder = pathlib.Path(
      library.snapshot_download(name, allow_patterns=_FILES)
    )
    pickles = _pickles(folder)
    if pickles:
      library.snapshot_download(name, allow_patterns=pickles)
  except Exception as error:  # Its own kinds, and those of its HTTP library.
    reason = " ".join(str(error).split())
    raise ValueError(
      f"{name}: no such folder, and the Hub does not give it ({reason:.200})"
    ) from None
  return folder


def _pickles(folder: pathlib.Path) -> list[str]:
  """What else to fetch: pickles, where a part came without safetensors.

  In some repositories the encoder has them and the projection has not.
  """
  if not any(folder.glob("*.safetensors")):
    return ["*.bin"]
  dense = {path.parent for path in folder.glob("*Dense*/config.json")}
  return [
    f"{part.name}/*.bin"
    for part in sorted(dense)
    if not any(part.glob("*.safetensors"))
  ]
