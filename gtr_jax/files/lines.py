"""Lines of a UTF-8 file, plain or compressed, read strictly one by one."""

import functools
import json
import pathlib
import sys
from collections.abc import Callable, Generator, Iterator
from typing import IO, Any, Literal, TypeVar

from gtr_jax.files import streams

OnBadLine = Literal["error", "skip"]
Report = Callable[[str], None]
Parsed = TypeVar("Parsed")

MAX_LINE_BYTES = 1 << 24  # Memory stays flat whatever a file holds.

_JSON_NAMES = {
  list: "a JSON list",
  str: "a JSON text",
  int: "a JSON number",
  float: "a JSON number",
  bool: "true or false",
  type(None): "null",
}
_MAX_MESSAGE = 1000  # Characters.
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class BadLineError(ValueError):
  """Input that is not what it should be; the message begins `file:line: `."""


def parse_lines(
  path: pathlib.Path,
  parse: Callable[[int, str], Parsed],
  on_bad_line: OnBadLine = "error",
  report: Report | None = None,
  refused: Callable[[int, ValueError], None] | None = None,
) -> Generator[Parsed, None, int]:
  """Yields what `parse` makes of each line; returns how many it refused.

  Args:
    path: plain or compressed, see `streams`.  A byte order mark is passed over,
      and so are blank lines at the end.
    parse: gets the line number, from 1, and the line without its end.  Raises a
      ValueError that says what is wrong with the line.
    on_bad_line: "error" raises at the first refused line; "skip" leaves it out
      and reports one summary a file.
    report: takes the summary; None writes it to standard error.
    refused: takes number and error of each line that is left out.

  Raises:
    BadLineError: a refused line, unless skipped; a stream that breaks, always,
      since nobody knows what it has lost.
    OSError: the file cannot be opened.
  """
  number, num_bad, first = 0, 0, ""
  for number, line in _numbered(path):
    try:
      parsed = parse(number, _decode(line))
    except ValueError as error:
      if on_bad_line == "error":
        raise BadLineError(f"{path}:{number}: {error}") from None
      num_bad += 1
      if refused is not None:
        refused(number, error)
      first = first or f"line {number}: {error}"
    else:
      yield parsed
  if num_bad:
    (report or to_standard_error)(
      f"{path}: skipped {num_bad} lines of {number}, first: {first}"
    )
  return num_bad


def take_lines(
  path: pathlib.Path,
  take: Callable[[int, str], None],
  on_bad_line: OnBadLine = "error",
  report: Report | None = None,
) -> int:
  """Hands each line to `take`; how many it refused.  See `parse_lines`."""
  taken = parse_lines(path, take, on_bad_line, report)
  while True:
    try:
      next(taken)
    except StopIteration as end:
      return end.value


def check_mode(on_bad_line: str) -> None:
  """Raises ValueError unless this is an `OnBadLine`."""
  if on_bad_line not in ("error", "skip"):
    raise ValueError(
      f"on_bad_line is {on_bad_line!r}: set it to 'error' or 'skip'"
    )


def parse_object(line: str) -> dict[str, Any]:
  """The JSON object of one line.

  Raises:
    ValueError: what came, what was due and what to do.
  """
  try:
    record = json.loads(line)
  except json.JSONDecodeError as error:
    reason = error.msg.removesuffix(" at")  # Of a string without its end.
    raise ValueError(
      f"not JSON ({reason} at column {error.colno}): one whole JSON object a"
      " line was due, repair or delete the line"
    ) from None
  except (ValueError, RecursionError) as error:
    raise ValueError(
      f"not readable as JSON ({error}): repair or delete the line"
    ) from None
  if not isinstance(record, dict):
    raise ValueError(
      f"got {_JSON_NAMES[type(record)]} where an object was due: write one"
      ' {"name": value, ...} a line'
    )
  return record


def to_standard_error(summary: str) -> None:
  print(shortened(summary), file=sys.stderr)


def shortened(message: str) -> str:
  """A message on one line; of one that quotes without end, both ends.

  What would steer a terminal is shown instead.
  """
  if len(message) > _MAX_MESSAGE:
    half = _MAX_MESSAGE // 2
    message = f"{message[:half]} … {message[-half:]}"
  shown = " ".join(message.split())
  if shown.isprintable():
    return shown
  return "".join(c if c.isprintable() else repr(c)[1:-1] for c in shown)


def _numbered(path: pathlib.Path) -> Iterator[tuple[int, bytes]]:
  """Numbers from 1 and lines; blank lines at the end are left out."""
  number, blank = 0, []
  try:
    with streams.opened(path) as stream:
      for number, line in enumerate(_limited(stream), start=1):
        if number == 1:
          line = line.removeprefix(_BYTE_ORDER_MARK)
        if not line.strip():
          blank.append(number)
          continue
        yield from ((blank_number, b"") for blank_number in blank)
        blank.clear()
        yield number, line.rstrip(b"\r\n")
  except streams.BrokenStreamError as error:
    raise BadLineError(f"{path}:{number + 1}: {error}") from None
  except OSError as error:
    if error.filename is not None:  # It cannot be opened.
      raise
    raise BadLineError(
      f"{path}:{number + 1}: cannot be read ({error}): copy the file again"
    ) from None


def _limited(stream: IO[bytes]) -> Iterator[bytes]:
  """The lines; of one that is too long, one byte too many."""
  read = functools.partial(stream.readline, MAX_LINE_BYTES + 1)
  for line in iter(read, b""):
    rest = line
    while len(rest) > MAX_LINE_BYTES and not rest.endswith(b"\n"):
      rest = read()
    yield line


def _decode(line: bytes) -> str:
  if not line:
    raise ValueError("a blank line: delete it")
  if len(line) > MAX_LINE_BYTES:
    raise ValueError(
      f"a line of more than {MAX_LINE_BYTES} bytes: cut it or delete it"
    )
  try:
    return line.decode("utf-8")
  except UnicodeDecodeError as error:
    raise ValueError(
      f"byte 0x{line[error.start]:02x} at column {error.start + 1} is not"
      " UTF-8: convert the file to UTF-8"
    ) from None
