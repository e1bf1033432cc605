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
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from gtr_jax.files import lines
from gtr_jax.labelled import scattered, stores, tables, text_store_writer
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
  read = _read_training(path, ledger)
  first = next(read, None)
  if first is None:
    raise lines.BadLineError(f"{path}:1: no line in the file, one was due")
  if not (first.positive and first.negative):
    # Begun anew: what is bad in it is said when the store is made.
    return _scattered(path, ids, settings, ledger)
  return _triples(itertools.chain([first], read), ids, settings, ledger)


def _triples(
  every: Iterable[_Line],
  ids: TextStore | None,
  settings: Settings,
  ledger: Ledger,
) -> Iterator[Question]:
  for batch in stores.batches(_groups(every), _BATCH):
    texts = [group[0].query for group in batch]
    known = _ids(texts, ids)
    for text, group, identifier in zip(texts, batch, known, strict=True):
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


def _groups(lines_of_file: Iterable[_Line]) -> Iterator[list[_Line]]:
  """Neighbouring lines of one query."""
  for _, group in itertools.groupby(lines_of_file, lambda line: line.query):
    yield list(group)


def _scattered(
  path: pathlib.Path,
  ids: TextStore | None,
  settings: Settings,
  ledger: Ledger,
) -> Iterator[Question]:
  """The questions of lines with labels, wherever they stand."""

  def read(store_ledger: Ledger) -> Iterator[scattered.Labelled]:
    for batch in stores.batches(_read_training(path, store_ledger), 4096):
      known = _ids([line.query for line in batch], ids)
      for line, identifier in zip(batch, known, strict=True):
        passage = line.positive or line.negative
        if passage is not None:
          yield scattered.Labelled(
            line.query,
            identifier,
            passage,
            line.positive is not None,
            int(line.place.rpartition(":")[2]),
          )

  facts = {
    "file": text_store_writer.file_facts(path),
    "ids": ids.directory.name if ids else None,
  }
  return scattered.questions(str(path), facts, read, settings, ledger)


def _ids(queries: Sequence[str], ids: TextStore | None) -> list[str | None]:
  if ids is None:
    return [None] * len(queries)
  return [known.text if known else None for known in ids.find(queries)]


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
