"""From the files of a site to its pairs, whatever their format."""

import pathlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from gtr_jax.community import (
  html_text,
  joining,
  output,
  stack_exchange,
  xml_rows,
)
from gtr_jax.community.choosing import Rules
from gtr_jax.community.tally import Tally
from gtr_jax.data.pair import Pair
from gtr_jax.files import lines

_COMPRESSION = 8  # A dump is at most about so much larger than its archive.


@dataclass(frozen=True)
class Options:
  """What becomes of a dump.

  Attributes:
    format: "stackexchange" or "reddit".
    near_duplicates: least similarity of pairs that are one; 0 keeps all.
    temporary: folder for the files of the join.
  """

  format: str
  rules: Rules
  near_duplicates: float
  temporary: pathlib.Path
  num_workers: int
  on_bad_line: lines.OnBadLine


def to_text(format: str, keep_code: bool) -> Callable[[str], html_text.Text]:
  """How the bodies of a format become text."""
  return html_text.HtmlToText(keep_code)


def find(
  format: str, paths: Sequence[str], site: str | None
) -> dict[str, list[pathlib.Path]]:
  """The dumps of each site, sites in alphabetical order.

  Raises:
    ValueError: no dump, or two of one site.
  """
  found: dict[str, list[pathlib.Path]] = {}
  for path in paths:
    for dump in stack_exchange.dumps(pathlib.Path(path)):
      name = site or stack_exchange.site_of(dump)
      found.setdefault(name, []).append(dump)
  for name, dumps in found.items():
    if len(dumps) > 1:
      raise ValueError(
        f"two dumps of one site, {name}: {dumps[0]} and {dumps[1]}; give one,"
        " or each with a --site of its own"
      )
  return dict(sorted(found.items()))


def pairs(
  site: str,
  files: Sequence[pathlib.Path],
  options: Options,
  tally: Tally,
  report: lines.Report = lines.to_standard_error,
) -> Iterator[Pair]:
  """The pairs of a site, in the order of its questions' ids."""
  (path,) = files
  with tempfile.TemporaryDirectory(
    prefix=".joining-", dir=options.temporary
  ) as temporary:
    folder = pathlib.Path(temporary)
    num_buckets = joining.num_buckets(_num_bytes(path))
    joined = joining.join(
      stack_exchange.read(path),
      joining.Deal(
        joining.Dump(stack_exchange.parse, xml_rows.single),
        folder,
        num_buckets,
        options.on_bad_line,
      ),
      joining.Join(folder, options.rules, options.on_bad_line, str(path)),
      options.num_workers,
      tally,
      report,
    )
    if options.near_duplicates:
      joined = output.distinct(joined, options.near_duplicates, tally)
    yield from joined


def _num_bytes(path: pathlib.Path) -> int:
  size = path.stat().st_size
  return size if path.suffix == ".xml" else size * _COMPRESSION
