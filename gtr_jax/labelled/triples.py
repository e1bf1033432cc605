"""Triples: query, positive, negative, as ids or as texts.

Neighbouring lines of one query become one question; a file whose lines are
shuffled gives a question a line.
"""

import itertools
import pathlib
from collections.abc import Iterator

from gtr_jax.files import lines
from gtr_jax.labelled import by_ids, stores, tables
from gtr_jax.labelled.ledger import Ledger
from gtr_jax.labelled.question import Passage, Question
from gtr_jax.labelled.settings import Settings

_COLUMNS = ("query", "positive", "negative")


def holds_texts(path: pathlib.Path, ledger: Ledger) -> bool:
  """Whether the first good line has a space in a cell, as no id has."""
  quiet = Ledger(ledger.on_bad_line, lambda note: None)
  for _, cells in _read(path, quiet):
    return any(" " in cell.strip() for cell in cells)
  raise lines.BadLineError(f"{path}:1: no triple in the file, one was due")


def of_ids(
  path: pathlib.Path, joined: stores.Joined, settings: Settings, ledger: Ledger
) -> Iterator[Question]:
  """The questions of triples of ids."""

  def listed() -> Iterator[by_ids.Listed]:
    for query, rows in itertools.groupby(_read(path, ledger), _query):
      group = list(rows)
      place = f"{path}:{group[0][0]}"
      positives = list(dict.fromkeys(cells[1] for _, cells in group))
      negatives = [
        Passage(cells[2], None, place=f"{path}:{line}") for line, cells in group
      ]
      yield by_ids.Listed(
        query, by_ids.Named(positives, place), negatives, place
      )

  return by_ids.questions(listed(), joined, settings, ledger)


def of_texts(
  path: pathlib.Path, settings: Settings, ledger: Ledger
) -> Iterator[Question]:
  """The questions of triples of texts."""
  for query, rows in itertools.groupby(_read(path, ledger), _query):
    if not settings.keeps(query):
      ledger.counts["queries_outside_fraction"] += 1
      continue
    group = list(rows)
    places = [f"{path}:{line}" for line, _ in group]
    positives = dict.fromkeys(cells[1] for _, cells in group)
    yield Question(
      query,
      [Passage(None, text, place=places[0]) for text in positives],
      [
        Passage(None, cells[2], place=place)
        for place, (_, cells) in zip(places, group, strict=True)
      ],
      place=places[0],
    )


def _read(
  path: pathlib.Path, ledger: Ledger
) -> Iterator[tuple[int, list[str]]]:
  return tables.rows(path, _COLUMNS, _stripped, ledger)


def _stripped(cells: list[str]) -> list[str]:
  stripped = [cell.strip() for cell in cells]
  for cell, name in zip(stripped, _COLUMNS, strict=True):
    if not cell:
      raise ValueError(f"the {name} is empty")
  return stripped


def _query(row: tuple[int, list[str]]) -> str:
  return row[1][0]
