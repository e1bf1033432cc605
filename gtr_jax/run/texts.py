"""Files of texts: JSONL with `_id`, `text` and, where there is one, `title`."""

import pathlib
from collections.abc import Callable
from typing import Any, Literal

from gtr_jax.evaluation import lines

Add = Callable[[str, str, str], None]  # Takes id, title and text.


def read(
  path: pathlib.Path, on_bad_line: Literal["error", "skip"], add: Add
) -> int:
  """Hands every text of a file, plain or gzip, to `add`.

  Memory holds a number an id, not the texts.

  Args:
    on_bad_line: "skip" leaves out malformed lines, empty texts and all but the
      first of the lines with one id, and tells their number on standard error.

  Returns:
    How many lines were left out.

  Raises:
    lines.BadLineError: a bad line, by file and line.
  """
  # Their 64-bit hashes: two ids of ten million are taken for one with a
  # probability of 3e-6.
  known: set[int] = set()

  def take(number: int, line: str) -> None:
    del number
    record = lines.parse_object(line)
    identifier, title, text = _id(record), _title(record), _text(record)
    if not (title.strip() or text.strip()):
      raise ValueError(
        f"the text of {identifier!r} is empty: delete the line, or leave such"
        " lines out with --on_bad_line=skip"
      )
    if hash(identifier) in known:
      raise ValueError(
        f"'_id' {identifier!r} is taken by a line before it: delete one"
      )
    add(identifier, title, text)
    known.add(hash(identifier))

  return lines.take_lines(path, take, on_bad_line)


def _id(record: dict[str, Any]) -> str:
  value = record.get("_id")
  if isinstance(value, bool) or not isinstance(value, (str, int)):
    raise ValueError(
      f"'_id' is {_kind(value)}, a string or a whole number was due"
    )
  return _whole(str(value), "_id")


def _title(record: dict[str, Any]) -> str:
  return "" if record.get("title") is None else _string(record, "title")


def _text(record: dict[str, Any]) -> str:
  return _string(record, "text")


def _string(record: dict[str, Any], name: str) -> str:
  value = record.get(name)
  if not isinstance(value, str):
    raise ValueError(f"{name!r} is {_kind(value)}, a string was due")
  return _whole(value, name)


def _whole(text: str, name: str) -> str:
  try:
    text.encode()
  except UnicodeEncodeError as error:
    raise ValueError(
      f"{name!r} holds half a character (\\u{ord(text[error.start]):04x}):"
      " repair the escape"
    ) from None
  return text


def _kind(value: Any) -> str:
  return "missing or null" if value is None else f"a {type(value).__name__}"
