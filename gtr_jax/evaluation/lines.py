"""Lines of a text file, plain or gzip, taken strictly one by one."""

import contextlib
import gzip
import json
import pathlib
import sys
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Any, Literal, cast

OnBadLine = Literal["error", "skip"]
Report = Callable[[str], None]

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class BadLineError(ValueError):
  """Input that is not what it should be; the message begins `file:line: `."""


def take_lines(
  path: pathlib.Path,
  take: Callable[[int, str], None],
  on_bad_line: OnBadLine = "error",
  report: Report | None = None,
) -> int:
  """Hands each line to `take` and counts the lines that it refused.

  Args:
    path: a UTF-8 file, plain or gzip.  Blank lines may only end it.
    take: gets the line number, from 1, and the line without its end.  Raises a
      ValueError that says what is wrong with the line.
    on_bad_line: "error" raises at the first refused line; "skip" leaves it out
      and reports one summary.
    report: takes the summary; None writes it to standard error.

  Returns:
    How many lines were left out.

  Raises:
    BadLineError: a refused line, unless skipped; a stream that breaks, always.
  """
  num_bad, first = 0, ""
  for number, line in _numbered(path):
    try:
      take(number, _decode(line))
    except ValueError as error:
      if on_bad_line == "error":
        raise BadLineError(f"{path}:{number}: {error}") from None
      num_bad += 1
      first = first or f"{path}:{number}: {error}"
  if num_bad:
    summary = f"skipped {num_bad} lines of {path.name}, the first: {first}"
    (report or _to_standard_error)(summary)
  return num_bad


def parse_object(line: str) -> dict[str, Any]:
  """The JSON object of one line.

  Raises:
    ValueError: what came and what was due.
  """
  try:
    record = json.loads(line)
  except json.JSONDecodeError as error:
    raise ValueError(
      f"not JSON ({error.msg} at column {error.colno}): one whole JSON object"
      " a line was due, repair or delete the line"
    ) from None
  except RecursionError:
    raise ValueError("nested too deeply: delete the line") from None
  if not isinstance(record, dict):
    raise ValueError(
      f"got a JSON {type(record).__name__} where an object was due: write one"
      ' {"_id": ..., "text": ...} a line'
    )
  return record


def _numbered(path: pathlib.Path) -> Iterator[tuple[int, bytes]]:
  """Numbers from 1 and lines; blank lines at the end are left out."""
  number, blank = 0, []
  try:
    with _open(path) as stream:
      for number, line in enumerate(stream, start=1):
        if number == 1:
          line = line.removeprefix(_BYTE_ORDER_MARK)
        if not line.strip():
          blank.append(number)
          continue
        yield from ((blank_number, b"") for blank_number in blank)
        blank.clear()
        yield number, line.rstrip(b"\r\n")
  except (EOFError, gzip.BadGzipFile, zlib.error) as error:
    raise BadLineError(
      f"{path}:{number + 1}: the gzip stream is broken here ({error}): copy"
      " the file again"
    ) from None


@contextlib.contextmanager
def _open(path: pathlib.Path) -> Iterator[IO[bytes]]:
  with path.open("rb") as stream:
    if path.suffix == ".gz":
      with gzip.GzipFile(fileobj=stream) as unzipped:
        yield cast(IO[bytes], unzipped)
    else:
      yield stream


def _decode(line: bytes) -> str:
  if not line:
    raise ValueError("a blank line: delete it")
  try:
    return line.decode("utf-8")
  except UnicodeDecodeError as error:
    raise ValueError(
      f"byte 0x{line[error.start]:02x} at column {error.start + 1} is not"
      " UTF-8: convert the file to UTF-8"
    ) from None


def _to_standard_error(summary: str) -> None:
  print(summary, file=sys.stderr)
