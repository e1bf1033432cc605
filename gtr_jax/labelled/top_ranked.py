"""Passages that a search found, as candidates for negatives.

top1000.*        query id, passage id, query, passage; in any order
*.run, *.trec    query id, Q0, passage id, rank, score, name; by spaces
"""

import pathlib
from collections.abc import Iterator

from gtr_jax.files import streams
from gtr_jax.labelled import by_ids, stores, tables
from gtr_jax.labelled.ledger import Ledger
from gtr_jax.labelled.question import Question
from gtr_jax.labelled.settings import Settings

_TOP = ("query id", "passage id", "query", "passage")
_RUN = ("query id", "Q0", "passage id", "rank", "score", "name")


def questions(
  path: pathlib.Path, joined: stores.Joined, settings: Settings, ledger: Ledger
) -> Iterator[Question]:
  """The judged queries, and what was found for them, in the file's order.

  Raises:
    ValueError: there are no judgements, so nobody knows the positives.
  """
  if joined.judgements is None:
    raise ValueError(
      f"{path}: does not tell which passages are positives: add the qrels file"
    )
  found = stores.of_files(
    [path], _read, {"reader": "top"}, settings, ledger, ids_repeat=True
  )

  def listed() -> Iterator[by_ids.Listed]:
    for batch in stores.batches(joined.queries, 512):
      ids = [query.id for query in batch]
      for query, hits in zip(ids, found.find_all(ids), strict=True):
        if hits:
          place = found.place(hits[0])
          scores = {hit.text: float(hit.title) for hit in hits if hit.title}
          passages = by_ids.Named([hit.text for hit in hits], place, scores)
          yield by_ids.Listed(query, [], passages, place)

  for question in by_ids.questions(listed(), joined, settings, ledger):
    if question.positives:
      yield question
    else:
      ledger.counts["queries_without_relevant"] += 1


def _read(
  path: pathlib.Path, ledger: Ledger
) -> Iterator[tuple[int, stores.Row]]:
  """Query ids, scores and passage ids."""
  is_run = streams.stem(path).endswith((".run", ".trec"))
  return ledger.parsed(path, _of_run if is_run else _of_top)


def _of_top(line: str) -> stores.Row:
  cells = tables.cells(line, _TOP)
  query, passage, *_ = cells
  return (
    tables.identifier(query, "query id"),
    "",
    tables.identifier(passage, "passage id"),
  )


def _of_run(line: str) -> stores.Row:
  query, _, passage, _, score, _ = tables.cells("\t".join(line.split()), _RUN)
  return query, str(tables.number(score, "score")), passage
