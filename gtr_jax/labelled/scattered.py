"""Passages of a query that stand anywhere in the data → one question each."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from gtr_jax.labelled import text_store_writer
from gtr_jax.labelled.ledger import Ledger
from gtr_jax.labelled.question import Passage, Question
from gtr_jax.labelled.settings import Settings
from gtr_jax.labelled.text_store import Entry


class Labelled(NamedTuple):
  """A passage and whether it answers a query.

  Attributes:
    id: of the query; None takes its text for it.
    line: where it stands.
  """

  query: str
  id: str | None
  passage: Passage
  is_positive: bool
  line: int


def questions(
  name: str,
  facts: Mapping[str, Any],
  read: Callable[[Ledger], Iterator[Labelled]],
  settings: Settings,
  ledger: Ledger,
) -> Iterator[Question]:
  """The questions, in the order in which their queries come first.

  All is copied once into a store on disk, by query.

  Args:
    name: of the file, as messages name it.
    facts: what tells one state of the data from another.
  """

  def entries(store_ledger: Ledger) -> Iterator[Entry]:
    for item in read(store_ledger):
      passage = item.passage
      content = json.dumps(
        [
          item.query,
          item.id,
          item.is_positive,
          passage.id,
          passage.text,
          passage.score,
        ]
      )
      key = item.query if item.id is None else item.id
      yield Entry(key, passage.title, content, 0, item.line)

  source = text_store_writer.Source(
    [name], {"reader": "scattered", **facts}, entries, ids_repeat=True
  )
  store = text_store_writer.build(settings.cache, source, ledger)
  for row in range(len(store)):
    key = store.id_bytes(row).decode()
    (rows,) = store.all_rows([key])
    if rows[0] != row:
      continue
    if settings.keeps(key):
      found = list(map(store.entry, rows))
      yield _question(found, [store.place(entry) for entry in found])
    else:
      ledger.counts["queries_outside_fraction"] += 1


def _question(entries: Sequence[Entry], places: Sequence[str]) -> Question:
  positives, negatives = [], []
  query, identifier = "", None
  for entry, place in zip(entries, places, strict=True):
    content = json.loads(entry.text)
    query, identifier, is_positive, passage_id, text, score = content
    passage = Passage(passage_id, text, entry.title, score, place)
    (positives if is_positive else negatives).append(passage)
  return Question(query, positives, negatives, identifier, places[0])
