"""Lists of ids → questions: the texts come from stores."""

import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, overload

from gtr_jax.labelled import judged, stores
from gtr_jax.labelled.ledger import Ledger
from gtr_jax.labelled.question import Passage, Question
from gtr_jax.labelled.settings import Settings

_BATCH = 512
EMPTY: Mapping[str, float] = types.MappingProxyType({})


class Listed(NamedTuple):
  """Ids of a query and of its passages; no positives: those judged so."""

  query: str
  positives: Sequence[Passage]
  negatives: Sequence[Passage]
  place: str


class Named(Sequence[Passage]):
  """Passages of which only the ids are known, and perhaps the scores.

  They are made when they are asked for: most of long lists never are.
  """

  def __init__(
    self, ids: Sequence[str], place: str, scores: Mapping[str, float] = EMPTY
  ):
    self._ids, self._place, self._scores = ids, place, scores

  def __len__(self) -> int:
    return len(self._ids)

  @overload
  def __getitem__(self, index: int) -> Passage: ...
  @overload
  def __getitem__(self, index: slice) -> "Named": ...
  def __getitem__(self, index: int | slice) -> "Passage | Named":
    if isinstance(index, slice):
      return Named(self._ids[index], self._place, self._scores)
    identifier = self._ids[index]
    score = self._scores.get(identifier)
    return Passage(identifier, None, score=score, place=self._place)


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
      positives = item.positives or Named(relevant, item.place)
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
