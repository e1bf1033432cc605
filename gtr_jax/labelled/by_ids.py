"""Lists of ids → questions: the texts come from stores."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from gtr_jax.labelled import judged, stores
from gtr_jax.labelled.ledger import Ledger
from gtr_jax.labelled.question import Passage, Question
from gtr_jax.labelled.settings import Settings

_BATCH = 512


class Listed(NamedTuple):
  """Ids of a query and of its passages; no positives: those judged so."""

  query: str
  positives: Sequence[Passage]
  negatives: Sequence[Passage]
  place: str


def named(
  ids: Iterable[str], place: str, scores: Iterable[float | None] | None = None
) -> list[Passage]:
  """Passages of which only the id is known, and perhaps the score."""
  if scores is None:
    return [Passage(identifier, None, place=place) for identifier in ids]
  return [
    Passage(identifier, None, score=score, place=place)
    for identifier, score in zip(ids, scores, strict=True)
  ]


def questions(
  listed: Iterable[Listed],
  joined: stores.Joined,
  settings: Settings,
  ledger: Ledger,
) -> Iterator[Question]:
  """A question a list, in order; those of unknown queries are left out."""
  look_up = stores.look_up(joined.passages)
  for batch in stores.batches(_in_fraction(listed, settings, ledger), _BATCH):
    ids = [item.query for item in batch]
    queries = joined.queries.find(ids)
    judgements = joined.judgements.find_all(ids) if joined.judgements else None
    for number, (item, query) in enumerate(zip(batch, queries, strict=True)):
      if query is None:
        ledger.leave_out(
          "unknown_query",
          f"{item.place}: the query {item.query!r} is in none of"
          f" {', '.join(joined.queries.sources)}",
        )
        continue
      relevant = [
        entry.text
        for entry in (judgements[number] if judgements else [])
        if judged.is_relevant(entry)
      ]
      positives = item.positives or named(relevant, item.place)
      yield Question(
        query.text,
        positives,
        item.negatives,
        query.id,
        item.place,
        relevant,
        look_up,
      )


def _in_fraction(
  listed: Iterable[Listed], settings: Settings, ledger: Ledger
) -> Iterator[Listed]:
  for item in listed:
    if settings.keeps(item.query):
      yield item
    else:
      ledger.counts["queries_outside_fraction"] += 1
