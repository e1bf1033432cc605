"""Text pairs from JSONL files, read strictly: bad input never passes silently.

A line is one JSON object with the fields that `pair.py` lists.  A file may be
compressed with gzip.
"""

import contextlib
import gzip
import json
import pathlib
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Literal, cast

from gtr_jax.data.pair import Pair, parse_pair

OnBadLine = Literal["error", "skip"]
Report = Callable[[str], None]

_GZIP_MAGIC = b"\x1f\x8b"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class BadLineError(ValueError):
  """Input that is not what it should be; the message begins `file:line: `."""


def read_pairs(
  paths: Sequence[str | pathlib.Path],
  on_bad_line: OnBadLine = "error",
  report: Report | None = None,
) -> Iterator[Pair]:
  """Yields the pairs of JSONL files, plain or gzip, in order.

  Args:
    paths: files; all must exist before the first is read.
    on_bad_line: "error" raises at the first bad line.  "skip" leaves bad lines
      out and reports one summary a file; a broken gzip stream ends its file.
    report: takes a summary; None writes it to standard error.

  Raises:
    BadLineError: a bad line (unless skipped), no such file, or a file without
      a single good pair, which is an error even where lines are skipped.
  """
  check_mode(on_bad_line)
  files = [pathlib.Path(path) for path in paths]
  check_files(files)
  skip, report = on_bad_line == "skip", report or to_standard_error
  return (pair for file in files for pair in _read_file(file, skip, report))


def check_mode(on_bad_line: str) -> None:
  if on_bad_line not in ("error", "skip"):
    raise ValueError(
      f"on_bad_line is {on_bad_line!r}: set it to 'error' or 'skip'"
    )


def check_files(files: Sequence[pathlib.Path]) -> None:
  """Raises BadLineError unless there are files and all of them exist."""
  if not files:
    raise BadLineError("no file of pairs was given: name at least one .jsonl")
  for file in files:
    if file.is_dir():
      raise BadLineError(f"{file}: is a folder: name the .jsonl files in it")
    if not file.exists():
      raise BadLineError(f"{file}: no such file: check the path")


def _read_file(
  path: pathlib.Path, skip: bool, report: Report
) -> Iterator[Pair]:
  line, num_good, num_bad, first_bad = 0, 0, 0, ""
  for line, outcome in _outcomes(path):
    if isinstance(outcome, Pair):
      num_good += 1
      yield outcome
      continue
    if not skip:
      raise BadLineError(f"{path}:{line}: {outcome}")
    num_bad += 1
    first_bad = first_bad or f"line {line}: {outcome}"
  if not num_good:
    raise BadLineError(
      f"{path}:{max(line, 1)}: no pair in the file, at least one was due: "
      + (first_bad or 'write one {"query": ..., "positive": ...} a line')
    )
  if num_bad:
    report(f"{path}: skipped {num_bad} of {line} lines, first: {first_bad}")


def _outcomes(path: pathlib.Path) -> Iterator[tuple[int, Pair | str]]:
  """Line numbers from 1, each with its pair or with what is wrong with it.

  Blank lines are wrong unless only blank lines follow.  A stream that breaks
  is wrong at the line after the last whole one, and ends the file.
  """
  number, blank = 0, []
  try:
    with _open(path) as stream:
      for number, line in enumerate(stream, start=1):
        if number == 1:
          line = line.removeprefix(_BYTE_ORDER_MARK)
        if not line.strip():
          blank.append(number)
          continue
        for blank_number in blank:
          yield blank_number, "a blank line, a JSON object was due: delete it"
        blank.clear()
        yield number, _parse_line(line)
  except (OSError, EOFError, zlib.error) as error:
    yield number + 1, _broken(error)


@contextlib.contextmanager
def _open(path: pathlib.Path) -> Iterator[IO[bytes]]:
  with path.open("rb") as stream:
    if path.suffix == ".gz" or stream.peek(2)[:2] == _GZIP_MAGIC:
      with gzip.GzipFile(fileobj=stream) as unzipped:
        yield cast(IO[bytes], unzipped)
    else:
      yield stream


def _broken(error: Exception) -> str:
  if isinstance(error, EOFError):
    return (
      "the gzip stream ends here, more was due: the file is cut, copy it again"
    )
  if isinstance(error, (gzip.BadGzipFile, zlib.error)):
    return f"not a sound gzip stream ({error}): copy the file again"
  return f"cannot be read ({error}): check the file and its permissions"


def _parse_line(line: bytes) -> Pair | str:
  """A pair, or what came, what was due and what to do."""
  try:
    text = line.decode("utf-8")
  except UnicodeDecodeError as error:
    return (
      f"byte 0x{line[error.start]:02x} at column {error.start + 1} is not"
      " UTF-8: convert the file to UTF-8"
    )
  try:
    record = json.loads(text)
  except json.JSONDecodeError as error:
    return (
      f"not JSON ({error.msg} at column {error.colno}): one whole JSON object"
      " a line was due, repair or delete the line"
    )
  except (ValueError, RecursionError) as error:
    return f"not readable as JSON ({error}): repair or delete the line"
  try:
    return parse_pair(record)
  except ValueError as error:
    return str(error)


def to_standard_error(summary: str) -> None:
  print(summary, file=sys.stderr)
