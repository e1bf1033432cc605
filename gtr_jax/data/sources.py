"""Text pairs from files, read strictly: bad input never passes silently.

JSONL: a line is one JSON object with the fields that `pair.py` lists; a file
may be compressed.  TFRecord and ArrayRecord: see `record_files`.
"""

import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence

from gtr_jax.data import record_files
from gtr_jax.data.pair import Pair, parse_pair
from gtr_jax.files import lines

# A file, a line from 1, and its pair.
Placed = tuple[str, int, Pair]
# Takes the file and line of a bad line, and what is wrong with it.
Refused = Callable[[str, ValueError], None]


def unheard(place: str, error: ValueError) -> None:
  """Takes a bad line, for who needs the summary alone."""


def numbered(name: str, pairs: Iterable[Pair]) -> Iterator[Placed]:
  """Pairs that are in no file, under a name, counted from 1."""
  return ((name, number, pair) for number, pair in enumerate(pairs, start=1))


def read_pairs(
  paths: Sequence[str | pathlib.Path],
  on_bad_line: lines.OnBadLine = "error",
  report: lines.Report | None = None,
) -> Iterator[Pair]:
  """Yields the pairs of files, in order.

  Args:
    paths: files; all must exist before the first is read.
    on_bad_line: "error" raises at the first bad line.  "skip" leaves bad lines
      out and reports one summary a file.
    report: takes a summary; None writes it to standard error.

  Raises:
    lines.BadLineError: a bad line (unless skipped), no such file, a file
      that is cut, or a file without a single good pair; of record files one
      that holds no record is told.
  """
  return (pair for _, _, pair in read_placed(paths, on_bad_line, report))


def read_placed(
  paths: Sequence[str | pathlib.Path],
  on_bad_line: lines.OnBadLine = "error",
  report: lines.Report | None = None,
  refused: Refused = unheard,
) -> Iterator[Placed]:
  """As `read_pairs`, each pair with its file and line, from 1.

  Args:
    refused: told of every line that is left out, beside the summaries.
  """
  lines.check_mode(on_bad_line)
  files = [pathlib.Path(path) for path in paths]
  check_files(files)
  say = report or lines.to_standard_error
  return (
    (str(file), number, pair)
    for file in files
    for number, pair in _read_file(file, on_bad_line, say, refused)
  )


def check_files(files: Sequence[pathlib.Path]) -> None:
  """Raises BadLineError unless there are files, all there, none twice."""
  if not files:
    raise lines.BadLineError(
      "no file of pairs was given: name at least one .jsonl"
    )
  for file in files:
    if file.is_dir():
      raise lines.BadLineError(
        f"{file}: is a folder: name the .jsonl files in it"
      )
    if not file.exists():
      raise lines.BadLineError(f"{file}: no such file: check the path")
  seen: dict[pathlib.Path, pathlib.Path] = {}
  for file in files:
    whole = file.resolve()
    if whole in seen:
      raise lines.BadLineError(
        f"{file}: is the same file as {seen[whole]}: name it once"
      )
    seen[whole] = file


def _read_file(
  path: pathlib.Path,
  on_bad_line: lines.OnBadLine,
  report: lines.Report,
  refused: Refused,
) -> Iterator[tuple[int, Pair]]:
  summaries: list[str] = []
  num_pairs = 0
  refuse = lambda number, error: refused(f"{path}:{number}", error)
  for placed in _placed(path, on_bad_line, summaries.append, refuse):
    num_pairs += 1
    yield placed
  if not num_pairs and not summaries and _may_be_empty(path):
    report(f"{path}: holds no record")
  elif not num_pairs:
    example = 'write one {"query": ..., "positive": ...} a line'
    raise lines.BadLineError(
      f"{path}:1: no pair in the file, at least one was due:"
      f" {summaries[0] if summaries else example}"
    )
  for summary in summaries:
    report(summary)


def _may_be_empty(path: pathlib.Path) -> bool:
  """Beam writes as many files as it was told, also for fewer pairs."""
  return path.suffix in record_files.SUFFIXES


def _placed(
  path: pathlib.Path,
  on_bad_line: lines.OnBadLine,
  report: lines.Report,
  refused: Callable[[int, ValueError], None],
) -> Iterator[tuple[int, Pair]]:
  if path.suffix in record_files.SUFFIXES:
    return record_files.read(path, on_bad_line, report, refused)
  return lines.parse_lines(path, _parse, on_bad_line, report, refused)


def _parse(number: int, line: str) -> tuple[int, Pair]:
  return number, parse_pair(lines.parse_object(line))
