"""A report as one HTML file that needs nothing beside it."""

import html
import pathlib
from collections.abc import Iterable, Iterator

from gtr_jax.data.pair import Pair
from gtr_jax.doctor import plots
from gtr_jax.doctor.finding import Finding, Offender
from gtr_jax.doctor.report import Report, number
from gtr_jax.files import whole

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto;
  max-width: 62em; padding: 0 1em; color: #222; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .3em .6em;
  border-bottom: 1px solid #ddd; }
td.number, th.number { text-align: right; white-space: nowrap; }
.serious { color: #a02020; font-weight: 600; }
.notable { color: #8a5a00; }
.minor, .quiet { color: #666; }
.text { white-space: pre-wrap; overflow-wrap: anywhere; background: #f6f6f6;
  padding: .3em .5em; margin: .2em 0; border-radius: 3px; }
.place { font-family: ui-monospace, monospace; font-size: 13px; color: #555;
  overflow-wrap: anywhere; }
details { margin: .5em 0; }
summary { cursor: pointer; }
img { max-width: 100%; height: auto; }
"""
_MOST_CHARACTERS = 1_000


def write(path: pathlib.Path, report: Report) -> None:
  """Writes the page, whole or not at all."""
  whole.write(path, "".join(_page(report)).encode("utf-8", "replace"))


def _page(report: Report) -> Iterator[str]:
  name = html.escape(report.source)
  yield (
    '<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8">'
    f"<title>gtr doctor: {name}</title>\n<style>{_STYLE}</style></head>\n<body>"
    f"\n<h1>gtr doctor</h1>\n<p class=place>{name}</p>\n"
  )
  yield from _facts(report)
  if report.mixture:
    yield "<h2>Mixture</h2>\n"
    yield from _mixture(report)
  yield "<h2>What to do</h2>\n"
  yield from _verdict(report)
  yield "<h2>Lengths</h2>\n" + plots.lengths(report.examination.lengths)
  yield "<h2>Repetition</h2>\n" + plots.repetition(report.examination)
  yield "<h2>False negatives by batch size</h2>\n"
  yield from _batch_sizes(report)
  yield "<h2>Where it shows</h2>\n"
  for place, finding in enumerate(report.problems):
    yield from _details(report, finding, place)
  yield "<h2>All that was looked for</h2>\n"
  yield from _everything(report)
  yield "<h2>A sample to read</h2>\n<p class=quiet>Drawn at random.</p>\n"
  for place, pair in report.sample:
    yield from _pair(place, pair)
  yield "</body>\n</html>\n"


def _facts(report: Report) -> Iterator[str]:
  examination = report.examination
  facts = {
    "pairs": f"{examination.num_pairs:,}",
    "positives": f"{examination.num_positives:,}",
    "negatives": f"{examination.num_negatives:,}",
    **report.facts,
  }
  yield from _table((), ((key, value) for key, value in facts.items()))


def _mixture(report: Report) -> Iterator[str]:
  rows = (
    (
      one.name,
      f"{one.num_pairs:,}",
      f"{one.rate:.2%}",
      f"{one.num_epochs:.2f}" if one.num_epochs else "give --train_steps",
    )
    for one in report.mixture
  )
  yield from _table(("task", "pairs", "of a batch", "epochs"), rows)


def _verdict(report: Report) -> Iterator[str]:
  if not report.problems:
    yield "<p>Nothing was found.</p>\n"
    return
  yield (
    "<table><tr><th>level<th>finding<th class=number>count"
    "<th class=number>share<th>what to do</tr>\n"
  )
  for place, finding in enumerate(report.problems):
    yield (
      f"<tr><td class={finding.level}>{finding.level}"
      f"<td><a href='#f{place}'>{html.escape(finding.title)}</a>"
      f"<td class=number>{number(finding.count)}"
      f"<td class=number>{finding.rate:.2%}"
      f"<td>{html.escape(finding.advice)}</tr>\n"
    )
  yield "</table>\n"


def _batch_sizes(report: Report) -> Iterator[str]:
  rows = (
    (
      f"{one.batch_size:,}",
      f"{one.cells:,.1f}",
      f"{one.masked_cells:,.1f}",
      f"{one.query_rate:.2%}",
    )
    for one in report.examination.other_sizes
  )
  names = ("batch", "expected", "masked by keys", "queries with one or more")
  yield from _table(names, rows)


def _details(report: Report, finding: Finding, place: int) -> Iterator[str]:
  yield (
    f"<details id='f{place}' open><summary><b>"
    f"{html.escape(finding.title)}</b>: {number(finding.count)} of"
    f" {finding.total:,} <span class=quiet>({finding.name})</span></summary>\n"
  )
  if finding.remark:
    yield f"<p>{html.escape(finding.remark)}</p>\n"
  for offender in finding.offenders:
    yield from _offender(report, offender)
  yield "</details>\n"


def _offender(report: Report, offender: Offender) -> Iterator[str]:
  told = filter(None, (report.where(offender), offender.role, offender.note))
  yield f"<p class=place>{html.escape(' · '.join(told))}</p>\n"
  for text in report.shows(offender):
    yield _text(text)


def _everything(report: Report) -> Iterator[str]:
  rows = (
    (
      finding.name,
      finding.title,
      f"{number(finding.count)} of {finding.total:,}",
      finding.remark,
    )
    for finding in report.findings
  )
  yield from _table(("name", "what", "found", ""), rows)
  if report.not_looked_for:
    names = ", ".join(report.not_looked_for)
    yield f"<p class=quiet>Not looked for: {html.escape(names)}.</p>\n"


def _pair(place: str, pair: Pair) -> Iterator[str]:
  yield f"<p class=place>{html.escape(place)}</p>\n" + _text(pair.query)
  for sign, texts in (("+", pair.positives), ("−", pair.negatives)):
    for text in texts[:3]:
      yield _text(f"{sign} {text}")


def _table(
  names: Iterable[str], rows: Iterable[Iterable[str]]
) -> Iterator[str]:
  yield "<table>"
  if names:
    yield "<tr>" + "".join(f"<th>{html.escape(name)}" for name in names)
    yield "</tr>\n"
  for row in rows:
    cells = "".join(f"<td>{html.escape(cell)}" for cell in row)
    yield f"<tr>{cells}</tr>\n"
  yield "</table>\n"


def _text(text: str) -> str:
  """A text as it is; what cannot be seen shows as a number."""
  cut = text[:_MOST_CHARACTERS] + ("…" if len(text) > _MOST_CHARACTERS else "")
  shown = "".join(
    sign if sign.isprintable() or sign in "\n\t" else f"⟨U+{ord(sign):04X}⟩"
    for sign in cut
  )
  return f"<div class=text dir=auto>{html.escape(shown)}</div>\n"
