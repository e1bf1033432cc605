"""The text stores that readers share: texts by id, and who answers whom."""

import itertools
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from gtr_jax.labelled import text_store_writer
from gtr_jax.labelled.ledger import Ledger
from gtr_jax.labelled.question import Passage
from gtr_jax.labelled.settings import Settings
from gtr_jax.labelled.text_store import Entry, TextStore

_BATCH = 4096

Item = TypeVar("Item")

# A line's id, title and text.
Row = tuple[str, str, str]
ReadRows = Callable[[pathlib.Path, Ledger], Iterable[tuple[int, Row]]]


@dataclass(frozen=True)
class Judgement:
  """A line of qrels: a passage answers a query if the score is above 0."""

  query: str
  passage: str
  score: float


@dataclass(frozen=True)
class Joined:
  """What the ids of a file stand for.

  Attributes:
    judgements: from queries to passages, where there are any.
  """

  queries: TextStore
  passages: TextStore
  judgements: TextStore | None = None


ReadJudgements = Callable[
  [pathlib.Path, Ledger], Iterable[tuple[int, Judgement]]
]


def of_files(
  paths: Sequence[pathlib.Path],
  read: ReadRows,
  facts: Mapping[str, Any],
  settings: Settings,
  ledger: Ledger,
  *,
  ids_repeat: bool = False,
) -> TextStore:
  """A store of the rows of files.

  Args:
    facts: what else decides what is in it, such as the name of the reader.
  """

  def entries(store_ledger: Ledger) -> Iterator[Entry]:
    for source, path in enumerate(paths):
      for line, (identifier, title, text) in read(path, store_ledger):
        yield Entry(identifier, title, text, source, line)

  source = text_store_writer.Source(
    [str(path) for path in paths],
    {**facts, "files": [text_store_writer.file_facts(path) for path in paths]},
    entries,
    ids_repeat,
  )
  return text_store_writer.build(settings.cache, source, ledger)


def judgements(
  paths: Sequence[pathlib.Path],
  read: ReadJudgements,
  queries: TextStore,
  passages: TextStore,
  settings: Settings,
  ledger: Ledger,
  *,
  of_files: bool = True,
) -> TextStore:
  """A relation from queries to passages; the title of an entry is the score.

  Args:
    of_files: the paths are files, rather than names of something fixed.

  Raises:
    lines.BadLineError: a query or a passage that is in no file, unless such
      lines are left out.
  """

  def entries(store_ledger: Ledger) -> Iterator[Entry]:
    for source, path in enumerate(paths):
      for batch in batches(read(path, store_ledger), _BATCH):
        known_queries = queries.rows([j.query for _, j in batch]).tolist()
        known_passages = passages.rows([j.passage for _, j in batch]).tolist()
        known = zip(batch, known_queries, known_passages, strict=True)
        for (line, judged), query, passage in known:
          unknown = (
            f"query {judged.query!r}"
            if query < 0
            else f"passage {judged.passage!r}"
            if passage < 0
            else None
          )
          if unknown:
            store_ledger.leave_out(
              f"unknown_{unknown.split()[0]}",
              f"{path}:{line}: the {unknown} is in none of"
              f" {', '.join((queries if query < 0 else passages).sources)}",
            )
          else:
            yield Entry(
              judged.query, str(judged.score), judged.passage, source, line
            )

  source = text_store_writer.Source(
    [str(path) for path in paths],
    {
      "judgements": [
        text_store_writer.file_facts(path) if of_files else str(path)
        for path in paths
      ],
      "queries": queries.directory.name,
      "passages": passages.directory.name,
    },
    entries,
    ids_repeat=True,
  )
  return text_store_writer.build(settings.cache, source, ledger)


def passage(store: TextStore, entry: Entry) -> Passage:
  return Passage(entry.id, entry.text, entry.title, place=store.place(entry))


def look_up(
  store: TextStore,
) -> Callable[[Sequence[str]], list[Passage | None]]:
  """Finds passages by their ids."""

  def find(ids: Sequence[str]) -> list[Passage | None]:
    return [entry and passage(store, entry) for entry in store.find(ids)]

  return find


def batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
  iterator = iter(items)
  while batch := list(itertools.islice(iterator, size)):
    yield batch
