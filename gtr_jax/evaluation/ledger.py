"""Results that a checkpoint has, kept as lines of `results.jsonl`."""

import pathlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gtr_jax.files import json_lines, lines

# In a model directory; `gtr evaluate --record` adds to it.
FILE = "results.jsonl"
# What makes two lines results of the same thing; the later one counts.
_SAME = ("checkpoint", "dataset", "split", "measure")


@dataclass(frozen=True)
class Found:
  """What ledgers hold of one checkpoint.

  Attributes:
    records: a result a line, in the order of the files.
    num_others: lines of other checkpoints, of BM25 and of runs.
  """

  records: tuple[Mapping[str, Any], ...] = ()
  num_others: int = 0


def add(path: pathlib.Path, records: Sequence[Mapping[str, Any]]) -> None:
  """Adds lines to a ledger; those that they repeat are replaced.

  Raises:
    ValueError: a line of the file is no result.
  """
  old = _read(path) if path.exists() else []
  json_lines.write(path, _latest([*old, *records]))


def of_checkpoint(paths: Iterable[pathlib.Path], checkpoint: str) -> Found:
  """The lines of these ledgers that are about a checkpoint.

  Args:
    checkpoint: its hash, as the lines name it.

  Raises:
    ValueError: a file cannot be read, or a line is no result.
  """
  found = [record for path in paths for record in _read(path)]
  ours = [r for r in found if r.get("checkpoint") == checkpoint]
  return Found(tuple(_latest(ours)), len(found) - len(ours))


def _latest(records: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
  # A run has no checkpoint; its file tells it from others.
  keyed = {
    tuple(str(record.get(name)) for name in (*_SAME, "model", "run")): record
    for record in records
  }
  return list(keyed.values())


def _read(path: pathlib.Path) -> list[dict[str, Any]]:
  try:
    return list(lines.parse_lines(path, _parse))
  except OSError as error:
    raise ValueError(
      f"{path}: cannot be read ({error.strerror}); give a results.jsonl that"
      " `gtr evaluate` wrote"
    ) from None


def _parse(number: int, line: str) -> dict[str, Any]:
  del number
  record = lines.parse_object(line)
  for name, kind, due in (
    ("dataset", str, "a name"),
    ("split", str, "a name"),
    ("measure", str, "a name"),
    ("value", (int, float), "a number"),
  ):
    if not isinstance(record.get(name), kind):
      raise ValueError(
        f"{name!r} is {record.get(name)!r:.60}, {due} was due: give a"
        " results.jsonl that `gtr evaluate` wrote"
      )
  return record
