"""JSON Lines files that programs leave behind."""

import json
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

from gtr_jax.retrieval import whole_file


def prepare(path: str) -> pathlib.Path:
  """Makes the folder of an output file, so that a mistake shows before work.

  Raises:
    ValueError: the path is a folder.
  """
  file = pathlib.Path(path)
  if file.is_dir():
    raise ValueError(f"{file}: is a folder, a file to write was due")
  file.parent.mkdir(parents=True, exist_ok=True)
  return file


def write(path: pathlib.Path, records: Iterable[Mapping[str, Any]]) -> None:
  """Writes one JSON object a line, the whole file or nothing."""
  with whole_file.writing(path) as stream:
    for record in records:
      stream.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")
