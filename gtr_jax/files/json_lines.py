"""JSON Lines files: one JSON object a line."""

import json
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

from gtr_jax.files import whole


def write(path: pathlib.Path, records: Iterable[Mapping[str, Any]]) -> None:
  """Writes one JSON object a line, the whole file or nothing."""
  with whole.writing(path) as stream:
    for record in records:
      stream.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")
