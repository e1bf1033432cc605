"""Queries, passages and judgements in stores → questions, query by query."""

from collections.abc import Iterator

from gtr_jax.labelled import stores
from gtr_jax.labelled.ledger import Ledger
from gtr_jax.labelled.question import Passage, Question
from gtr_jax.labelled.settings import Settings
from gtr_jax.labelled.text_store import Entry, TextStore

_BATCH = 512


def questions(
  queries: TextStore,
  passages: TextStore,
  judgements: TextStore,
  settings: Settings,
  ledger: Ledger,
) -> Iterator[Question]:
  """The queries with a relevant passage, in the order of their file.

  Passages that were judged not to answer are candidates for negatives.
  """
  for batch in stores.batches(queries, _BATCH):
    kept = [query for query in batch if settings.keeps(query.id)]
    ledger.counts["queries_outside_fraction"] += len(batch) - len(kept)
    judged = judgements.find_all([query.id for query in kept])
    ids = [entry.text for entries in judged for entry in entries]
    texts = iter(passages.find(ids))
    for query, entries in zip(kept, judged, strict=True):
      answers: dict[str, Passage] = {}
      others: list[Passage] = []
      for entry in entries:
        found = next(texts)
        if found is None:  # They were looked up when the store was made.
          raise ValueError(
            f"{judgements.directory} does not fit {passages.directory}: delete"
            " both"
          )
        if found.id in answers:
          ledger.leave_out(
            "repeated_judgement",
            f"{judgements.place(entry)}: query {query.id!r} and passage"
            f" {found.id!r} were judged before",
          )
        elif is_relevant(entry):
          answers[found.id] = stores.passage(passages, found)
        else:
          others.append(stores.passage(passages, found))
      if answers:
        yield Question(
          query.text,
          list(answers.values()),
          others,
          query.id,
          queries.place(query),
        )
      else:
        ledger.counts["queries_without_relevant"] += 1


def is_relevant(judgement: Entry) -> bool:
  return float(judgement.title) > 0
