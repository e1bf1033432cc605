"""Files of texts: JSONL with `_id`, `text` and, where there is one, `title`."""

import pathlib

from gtr_jax.files import fields, lines
from gtr_jax.retrieval.documents import Add


def read(path: pathlib.Path, on_bad_line: lines.OnBadLine, add: Add) -> int:
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
    identifier = fields.identifier(record.get("_id"), "_id")
    title = fields.optional_string(record.get("title"), "title")
    text = fields.string(record.get("text"), "text")
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
