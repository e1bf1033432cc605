"""Judgements as files hold them: of TREC, BEIR and RocketQA."""

import pathlib
from collections.abc import Iterator

from gtr_jax.labelled import tables
from gtr_jax.labelled.ledger import Ledger
from gtr_jax.labelled.stores import Judgement

_FORMS = {
  2: ("query id", "passage id"),
  3: ("query id", "passage id", "score"),
  4: ("query id", "iteration", "passage id", "score"),
}


def read(path: pathlib.Path, ledger: Ledger) -> Iterator[tuple[int, Judgement]]:
  """Line numbers and judgements of a file.

  Its lines have 2 cells (RocketQA), 3 (BEIR, below a header) or 4 (TREC, also
  with spaces between), as the first one has.
  """
  columns: tuple[str, ...] = ()
  is_first = True

  def parse(line: str) -> Judgement | None:
    nonlocal columns, is_first
    was_first, is_first = is_first, False
    cells = line.split("\t") if "\t" in line else line.split()
    due = columns or _FORMS.get(len(cells), _FORMS[4])
    cells = tables.cells("\t".join(cells), due)
    if was_first and cells[0].strip() == "query-id":
      return None
    judgement = _judgement(cells)
    columns = due
    return judgement

  for number, judgement in ledger.parsed(path, parse):
    if judgement is not None:
      yield number, judgement


def _judgement(cells: list[str]) -> Judgement:
  score = tables.number(cells[-1], "score") if len(cells) > 2 else 1.0
  return Judgement(
    tables.identifier(cells[0], "query id"),
    tables.identifier(cells[2 if len(cells) == 4 else 1], "passage id"),
    score,
  )
