"""What was found, for people: a table for the terminal, and as JSON."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gtr_jax.data.pair import Pair
from gtr_jax.doctor.examination import Examination, Placed
from gtr_jax.doctor.finding import Finding, Offender
from gtr_jax.doctor.shares import Share

_MOST_CHARACTERS = 400


@dataclass(frozen=True)
class Report:
  """All that a page shows.

  Attributes:
    source: the data, as the user named it.
    facts: more to know about how it was looked at, in order.
    findings: the most harmful first.
    places: of the pairs that are shown: where each stands, and the pair.
    num_shown: pairs of the sample to read.
    not_looked_for: names of findings.
    mixture: its tasks; none of a task alone.
  """

  source: str
  facts: Mapping[str, str]
  examination: Examination
  findings: Sequence[Finding]
  places: Mapping[int, tuple[str, Pair]]
  num_shown: int
  not_looked_for: Sequence[str] = ()
  mixture: Sequence[Share] = ()

  @property
  def problems(self) -> list[Finding]:
    return [finding for finding in self.findings if finding.count > 0]

  @property
  def sample(self) -> list[tuple[str, Pair]]:
    drawn = self.examination.sample[: self.num_shown]
    return [(self.places[number][0], pair) for number, pair in drawn]

  def where(self, offender: Offender) -> str:
    """File and line, or the number of the example."""
    if offender.place:
      return offender.place
    return ", ".join(
      dict.fromkeys(self.places[number][0] for number in offender.pairs)
    )

  def shows(self, offender: Offender) -> list[str]:
    """The texts to look at."""
    if offender.text is not None or not offender.pairs:
      return [_cut(offender.text or "")]
    texts = []
    which = offender.which or (0,) * len(offender.pairs)
    for number, positive in zip(offender.pairs, which, strict=True):
      pair = self.places[number][1]
      texts.append(
        pair.query if offender.role == "query" else pair.positives[positive]
      )
    return [_cut(text) for text in dict.fromkeys(texts)]


def numbers_to_show(
  examination: Examination, findings: Iterable[Finding], num_shown: int
) -> set[int]:
  """The pairs whose places a report needs."""
  numbers = {number for number, _ in examination.sample[:num_shown]}
  for finding in findings:
    for offender in finding.offenders:
      numbers.update(offender.pairs)
  return numbers


def look_up(
  pairs: Placed, numbers: Iterable[int]
) -> dict[int, tuple[str, Pair]]:
  """Places and texts of some pairs, by reading as far as the last of them."""
  wanted = set(numbers)
  last = max(wanted, default=-1)
  found = {}
  if wanted:
    for number, (source, line, pair) in enumerate(pairs):
      if number in wanted:
        own = f" ({pair.query_id})" if pair.query_id else ""
        found[number] = (f"{source}:{line}{own}", pair)
      if number == last:
        break
  return found


def table(report: Report) -> str:
  """A few lines for a terminal."""
  examination = report.examination
  lines = [
    f"{report.source}: {examination.num_pairs:,} pairs,"
    f" {examination.num_positives:,} positives,"
    f" {examination.num_negatives:,} negatives",
  ]
  for tower, length in examination.lengths.items():
    lines.append(
      f"  {tower:8}tokens: median {length.quantile(0.5):,},"
      f" 95 % {length.quantile(0.95):,}; {length.limit} are read"
    )
  lines += [
    f"  {one.name}: {one.num_pairs:,} pairs, {one.rate:.2%} of a batch"
    + (f", {one.num_epochs:.2f} epochs" if one.num_epochs else "")
    for one in report.mixture
  ]
  problems = report.problems
  if problems:
    width = max(len(finding.name) for finding in problems)
    lines.append("")
    lines += [
      f"{finding.level:8} {finding.name:{width}}"
      f" {number(finding.count):>9} {finding.rate:7.2%}  {finding.title}"
      for finding in problems
    ]
    lines.append("")
    lines += [
      f"{finding.name}: {finding.advice}"
      for finding in problems
      if finding.level == "serious"
    ]
  else:
    lines.append("nothing was found")
  if report.not_looked_for:
    lines.append(f"not looked for: {', '.join(report.not_looked_for)}")
  return "\n".join(lines)


def as_json(report: Report) -> dict[str, Any]:
  """The promised keys first; `findings` holds everything else."""
  examination = report.examination
  by_name: dict[str, float] = {}
  for finding in report.findings:
    by_name[finding.name] = by_name.get(finding.name, 0) + finding.count
  count = lambda *names: sum(int(by_name.get(name, 0)) for name in names)
  return {
    "pairs": examination.num_pairs,
    "truncated": count("truncated_query", "truncated_passage"),
    "empty": count("empty"),
    "duplicates": count("duplicates"),
    "false_negatives_expected": examination.expectation.cells,
    "overlap": count("overlap_queries", "overlap_corpus"),
    "false_negatives_masked": examination.expectation.masked_cells,
    "false_negatives_query_share": examination.expectation.query_rate,
    "false_negatives_by_batch_size": {
      str(one.batch_size): one.cells for one in examination.other_sizes
    },
    "batch_size": examination.expectation.batch_size,
    "lengths": {
      tower: {
        "median": length.quantile(0.5),
        "p95": length.quantile(0.95),
        "p99": length.quantile(0.99),
        "limit": length.limit,
        "truncated": length.num_truncated,
        "lost": length.lost_rate,
      }
      for tower, length in examination.lengths.items()
    },
    "findings": [_finding(report, finding) for finding in report.findings],
    "not_looked_for": list(report.not_looked_for),
    "mixture": [dataclasses.asdict(one) for one in report.mixture],
  }


def number(value: float) -> str:
  whole = value == int(value)
  return f"{int(value):,}" if whole else f"{value:,.1f}"


def _finding(report: Report, finding: Finding) -> dict[str, Any]:
  return {
    "name": finding.name,
    "title": finding.title,
    "count": finding.count,
    "of": finding.total,
    "level": finding.level if finding.count else "none",
    "advice": finding.advice,
    "remark": finding.remark,
    "places": [
      {
        "place": report.where(offender),
        "role": offender.role,
        "text": report.shows(offender)[0],
        "note": offender.note,
      }
      for offender in finding.offenders
    ],
  }


def _cut(text: str) -> str:
  if len(text) <= _MOST_CHARACTERS:
    return text
  return text[:_MOST_CHARACTERS] + "…"
