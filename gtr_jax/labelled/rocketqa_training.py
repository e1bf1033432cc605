"""RocketQA's training files: texts between tabs.

  marco_de1_denoise.tsv ...  query, title and text of a positive, title and
                             text of a negative, label; a line a negative
  marco_ce0.tsv ...          query, title, text, label 0 or 1; in any order

A first line may name the columns.  A title "-" is none.

Source: data_process/ and model/src/reader/ of research/RocketQA_NAACL2021
(https://github.com/PaddlePaddle/RocketQA).
"""

import itertools
import pathlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gtr_jax.files import lines
from gtr_jax.labelled import stores, tables
from gtr_jax.labelled.ledger import Ledger
from gtr_jax.labelled.question import Passage, Question
from gtr_jax.labelled.settings import Settings
from gtr_jax.labelled.text_store import TextStore

_BATCH = 512
_TRIPLE = ("query", "title_pos", "para_pos", "title_neg", "para_neg", "label")
_SCORED = ("query", "title", "para", "label")


def title(cell: str) -> str:
  """A title as the files hold it; "-" stands for none."""
  stripped = cell.strip()
  return "" if stripped == "-" else stripped


@dataclass(frozen=True)
class _Line:
  """One line of a training file: a query and one or two passages."""

  query: str
  positive: Passage | None
  negative: Passage | None
  place: str


def questions(
  path: pathlib.Path,
  ids: TextStore | None,
  settings: Settings,
  ledger: Ledger,
) -> Iterator[Question]:
  """The questions of a training file.

  Args:
    ids: of queries by their texts, where they are known.
  """
  groups = _groups(path, settings, ledger)
  for batch in stores.batches(groups, _BATCH):
    texts = [group[0].query for group in batch]
    found = ids.find(texts) if ids else [None] * len(texts)
    for text, group, known in zip(texts, batch, found, strict=True):
      identifier = known.text if known else None
      if ids and identifier is None:
        ledger.counts["queries_without_id"] += 1
      if not settings.keeps(text if identifier is None else identifier):
        ledger.counts["queries_outside_fraction"] += 1
        continue
      positives = {p: None for line in group if (p := _bare(line.positive))}
      yield Question(
        text,
        [positive._replace(place=group[0].place) for positive in positives],
        [line.negative for line in group if line.negative],
        identifier,
        group[0].place,
      )


def _bare(passage: Passage | None) -> Passage | None:
  """Without its place, so that copies are equal."""
  return passage and passage._replace(place="")


def _groups(
  path: pathlib.Path, settings: Settings, ledger: Ledger
) -> Iterator[list[_Line]]:
  """The lines of a query; those of triples stand together."""
  read = _read_training(path, ledger)
  first = next(read, None)
  if first is None:
    raise lines.BadLineError(f"{path}:1: no line in the file, one was due")
  every: Iterable[_Line] = itertools.chain([first], read)
  if first.positive and first.negative:
    for _, group in itertools.groupby(every, lambda line: line.query):
      yield list(group)
    return
  yield from _scattered(path, settings, ledger)


def _scattered(
  path: pathlib.Path, settings: Settings, ledger: Ledger
) -> Iterator[list[_Line]]:
  """The lines of each query, wherever they stand."""

  def read(
    path: pathlib.Path, ledger: Ledger
  ) -> Iterator[tuple[int, stores.Row]]:
    for line in _read_training(path, ledger):
      label, passage = (
        ("+", line.positive) if line.positive else ("-", line.negative)
      )
      if passage is not None:
        number = int(line.place.rpartition(":")[2])
        yield number, (line.query, passage.title, label + (passage.text or ""))

  # The file was begun already: what it lacks is said by the store.
  store = stores.of_files(
    [path], read, {"reader": "labels"}, settings, ledger, ids_repeat=True
  )
  for row in range(len(store)):
    entry = store.entry(row)
    (rows,) = store.all_rows([entry.id])
    if rows[0] != row:
      continue
    group = []
    for entry in map(store.entry, rows):
      place = store.place(entry)
      passage = Passage(None, entry.text[1:], entry.title, place=place)
      is_positive = entry.text[0] == "+"
      group.append(
        _Line(
          entry.id,
          passage if is_positive else None,
          None if is_positive else passage,
          place,
        )
      )
    yield group


def _read_training(path: pathlib.Path, ledger: Ledger) -> Iterator[_Line]:
  columns: tuple[str, ...] = ()
  is_first = True

  def parse(line: str) -> dict[str, str] | None:
    nonlocal columns, is_first
    was_first, is_first = is_first, False
    cells = line.split("\t")
    if was_first and "query" in cells and "label" in cells:
      columns = tuple(cells)
      return None
    due = columns or (_SCORED if len(cells) == len(_SCORED) else _TRIPLE)
    cells = tables.cells(line, due)
    record = dict(zip(due, map(str.strip, cells), strict=True))
    if not record["query"]:
      raise ValueError("the query is empty")
    if "para" in record and record["label"] not in ("0", "1"):
      raise ValueError(f"the label is {record['label']!r:.40}, 0 or 1 was due")
    columns = due
    return record

  for number, record in ledger.parsed(path, parse):
    if record is not None:
      yield _line(record, f"{path}:{number}")


def _line(record: dict[str, str], place: str) -> _Line:
  query = record["query"]
  if "para" in record:
    passage = Passage(
      None, record["para"], title(record.get("title", "")), place=place
    )
    is_positive = record["label"] == "1"
    return _Line(
      query,
      passage if is_positive else None,
      None if is_positive else passage,
      place,
    )
  positive, negative = (
    Passage(
      None,
      record.get(f"para_{which}", ""),
      title(record.get(f"title_{which}", "")),
      place=place,
    )
    for which in ("pos", "neg")
  )
  return _Line(query, positive, negative, place)
