"""From the files of a site to its pairs, whatever their format."""

import itertools
import os
import pathlib
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from gtr_jax.community import (
  blocks,
  choosing,
  faq,
  fields,
  html_text,
  joining,
  output,
  question,
  reddit,
  stack_exchange,
  xml_rows,
)
from gtr_jax.community.choosing import Rules
from gtr_jax.community.filters import Filters
from gtr_jax.community.tally import Tally
from gtr_jax.data import language
from gtr_jax.data.near_duplicates import Finder
from gtr_jax.data.pair import Pair
from gtr_jax.files import folders, lines, streams
from gtr_jax.files.lines import BadLineError

FORMATS = ("stackexchange", "reddit", "faq", "fields")

Sites = Mapping[str, Sequence[pathlib.Path]]
_COMPRESSION = 8  # A dump is about so much larger than its archive at most.
_LINES = (".jsonl", ".json", ".ndjson", "")


@dataclass(frozen=True)
class Options:
  """What becomes of a dump.

  Attributes:
    format: one of FORMATS.
    near_duplicates: least similarity of pairs that are one; 0 keeps all.
    temporary: folder for the files of the join.
    names: of the fields of a record, for "fields".
    progress: takes numbers of records read.
  """

  format: str
  rules: Rules
  near_duplicates: float
  temporary: pathlib.Path
  num_workers: int
  on_bad_line: lines.OnBadLine
  names: fields.Names = field(default_factory=fields.Names)
  progress: Callable[[int], None] = lambda num_records: None


@dataclass(frozen=True)
class Posts:
  """A format whose questions and answers have to be joined."""

  read: Callable[[pathlib.Path], Iterator[blocks.Block]]
  dump: joining.Dump


JOINED = {
  "stackexchange": Posts(
    stack_exchange.read, joining.Dump(stack_exchange.parse, xml_rows.single)
  ),
  "reddit": Posts(reddit.read, joining.Dump(reddit.parse, reddit.single)),
}


def to_text(format: str, keep_code: bool) -> choosing.ToText:
  """How the bodies of a format become text."""
  if format == "reddit":
    return reddit.MarkdownToText(keep_code)
  return html_text.HtmlToText(keep_code)


def find(format: str, paths: Sequence[str], site: str | None) -> Sites:
  """The files of each site, sites in alphabetical order.

  Raises:
    ValueError: no file, or two dumps of one site.
  """
  found: dict[str, list[pathlib.Path]] = {}
  for given in map(pathlib.Path, paths):
    if not given.exists():
      raise BadLineError(f"{given}: no such file: check the path")
    for file in _files(format, given):
      if file.is_file() and not file.stat().st_size:
        raise BadLineError(f"{file}:1: the file is empty: copy it again")
      found.setdefault(site or _site_of(format, given, file), []).append(file)
  _refuse_same_names(found)
  for name, files in found.items():
    if len(files) > 1 and format == "stackexchange":
      raise ValueError(
        f"two dumps of one site, {name}: {files[0]} and {files[1]}; give one,"
        " or each with a --site of its own"
      )
    if len({file.resolve() for file in files}) < len(files):
      raise ValueError(f"{files[0]}: is given twice, or another of its site is")
    if not name.isprintable():
      raise ValueError(
        f"{files[0]}: no site can have the name {name!r}: give --site"
      )
  return dict(sorted(found.items()))


def require_apart(sites: Sites, output: pathlib.Path) -> None:
  """Raises ValueError if the output would replace some of the input."""
  for file in itertools.chain.from_iterable(sites.values()):
    if output.resolve() in file.resolve().parents:
      raise ValueError(
        f"{file}: is input and lies in the output folder {output}: choose"
        " another --output"
      )


def _refuse_same_names(sites: Sites) -> None:
  """Else one would be written over the other."""
  names: dict[str, str] = {}
  for site in sites:
    other = names.setdefault(output.file_name(site), site)
    if other != site:
      raise ValueError(
        f"{site} and {other} would have files of one name: run them apart"
      )


def require_libraries(
  format: str, filters: Filters, near_duplicates: float
) -> None:
  """Raises ValueError for what would else be missing after hours of reading."""
  if format in ("stackexchange", "faq"):
    html_text.parse("")
  if filters.languages:
    language.check(filters.languages)
  if near_duplicates:
    Finder(near_duplicates)


def pairs(
  site: str,
  files: Sequence[pathlib.Path],
  options: Options,
  tally: Tally,
  report: lines.Report = lines.to_standard_error,
) -> Iterator[Pair]:
  """The pairs of a site, in the order of its questions."""
  if options.format in JOINED:
    found = _joined(files, options, tally, report)
  else:
    found = question.pairs(
      _questions(site, files, options, tally, report),
      options.rules.filters,
      options.rules.num_answers,
      tally,
    )
  if options.near_duplicates:
    found = output.distinct(found, options.near_duplicates, tally)
  return found


def _joined(
  files: Sequence[pathlib.Path],
  options: Options,
  tally: Tally,
  report: lines.Report,
) -> Iterator[Pair]:
  posts = JOINED[options.format]
  with tempfile.TemporaryDirectory(
    prefix=".joining-", dir=options.temporary
  ) as temporary:
    folder = pathlib.Path(temporary)
    deal = joining.Deal(
      posts.dump,
      folder,
      joining.num_buckets(sum(map(_num_bytes, files))),
      options.on_bad_line,
    )
    yield from joining.join(
      (block for file in files for block in posts.read(file)),
      deal,
      joining.Join(folder, options.rules, options.on_bad_line),
      options.num_workers,
      tally,
      report,
      options.progress,
    )


def _questions(
  site: str,
  files: Sequence[pathlib.Path],
  options: Options,
  tally: Tally,
  report: lines.Report,
) -> Iterator[question.Question]:
  common = os.path.commonpath([file.absolute().parent for file in files])
  for number, file in enumerate(files):
    if options.format == "fields":
      # Lines of several files of a site must not have the same id.
      name = site if len(files) == 1 else f"{site}/{number}"
      yield from _of_lines(file, name, options, tally, report)
    else:
      name = file.absolute().relative_to(common).as_posix()
      yield from _of_page(file, f"{site}/{name}", options, tally, report)


def _of_lines(
  file: pathlib.Path,
  name: str,
  options: Options,
  tally: Tally,
  report: lines.Report,
) -> Iterator[question.Question]:
  bad: list[int] = []
  for record in fields.read(
    file, name, options.names, options.on_bad_line, report, bad
  ):
    tally["records.in"] += 1
    options.progress(1)
    yield record
  tally["records.in"] += len(bad)
  if bad:
    tally["records.left_out.bad"] += len(bad)


def _of_page(
  file: pathlib.Path,
  name: str,
  options: Options,
  tally: Tally,
  report: lines.Report,
) -> Iterable[question.Question]:
  keep_code = getattr(options.rules.to_text, "keep_code", True)
  tally["records.in"] += 1
  options.progress(1)
  try:
    found = faq.read(file, name, html_text.HtmlToText(keep_code))
  except BadLineError as error:
    if options.on_bad_line == "error":
      raise
    report(f"left out a page: {error}")
    tally["records.left_out.bad"] += 1
    return []
  if not found:
    tally["records.left_out.no_question"] += 1
  return found


def _files(format: str, given: pathlib.Path) -> Iterable[pathlib.Path]:
  """The files of a format that a path stands for."""
  if format == "stackexchange":
    return stack_exchange.dumps(given)
  if not given.is_dir():
    return [given]
  endings = faq.SUFFIXES if format == "faq" else _LINES[:-1]
  found = folders.search(
    given, lambda file: streams.stem(file).casefold().endswith(endings)
  )
  if not found:
    raise BadLineError(
      f"{given}: no file in the folder ends with {' or '.join(endings)}"
    )
  return found


def _site_of(format: str, given: pathlib.Path, file: pathlib.Path) -> str:
  if format == "stackexchange":
    return stack_exchange.site_of(file)
  if format == "reddit":
    return format
  if given.is_dir():
    return given.absolute().name or format
  if format == "faq":
    return given.absolute().parent.name or format
  return pathlib.PurePath(streams.stem(file)).stem


def _num_bytes(path: pathlib.Path) -> int:
  size = path.stat().st_size
  is_plain = streams.stem(path) == path.name
  return size if is_plain else size * _COMPRESSION
