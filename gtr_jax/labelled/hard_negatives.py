"""sentence-transformers' lists of hard negatives for MS MARCO, by ids.

  {"qid": 7, "pos": [1], "neg": {"bm25": [2, 3], "tas-b": [3, 4]}}

An id may have its score beside it: {"pid": 2, "ce-score": -3.1}.  Scores may
also come from a file of their own: {query id: {passage id: score}}, one JSON
object.
"""

import itertools
import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from gtr_jax.files import fields, lines
from gtr_jax.labelled import by_ids, json_streams, stores
from gtr_jax.labelled.ledger import Ledger
from gtr_jax.labelled.question import Passage, Question
from gtr_jax.labelled.settings import Settings

Ids = list[tuple[str, float | None]]


def questions(
  path: pathlib.Path,
  scores: pathlib.Path | None,
  joined: stores.Joined,
  settings: Settings,
  ledger: Ledger,
) -> Iterator[Question]:
  """A question a line; systems take turns, the first of each first.

  Raises:
    ValueError: a system that no line has.
  """
  known = (
    stores.of_files(
      [scores], _read_scores, {"reader": "scores"}, settings, ledger
    )
    if scores
    else None
  )
  systems: set[str] = set()

  def parse(line: str) -> tuple[str, Ids, list[Ids]]:
    query, positives, negatives = _parse(lines.parse_object(line))
    systems.update(negatives)
    wanted = settings.systems or negatives
    return query, positives, [negatives.get(name, []) for name in wanted]

  def listed() -> Iterator[by_ids.Listed]:
    for number, (query, positives, negatives) in ledger.parsed(path, parse):
      if not settings.keeps(query):
        ledger.counts["queries_outside_fraction"] += 1
        continue
      place = f"{path}:{number}"
      found = known.find([query])[0] if known else None
      of_query = json.loads(found.text) if found else {}
      yield by_ids.Listed(
        query,
        _scored(positives, of_query, place),
        _scored(_in_turn(negatives), of_query, place),
        place,
      )
    unknown = set(settings.systems) - systems
    if unknown and systems:
      raise ValueError(
        f"{path}: has no negatives of {min(unknown)!r}: it has those of"
        f" {', '.join(sorted(systems))}"
      )

  return by_ids.questions(listed(), joined, settings, ledger)


def _parse(record: Mapping[str, Any]) -> tuple[str, Ids, dict[str, Ids]]:
  query = fields.identifier(record.get("qid"), "qid")
  negatives = record.get("neg")
  if not isinstance(negatives, dict):
    raise ValueError(
      "'neg' is no object: due is {name of a system: list of passage ids}"
    )
  return (
    query,
    _ids(record.get("pos"), "pos"),
    {name: _ids(ids, f"neg.{name}") for name, ids in negatives.items()},
  )


def _ids(value: Any, name: str) -> Ids:
  if not isinstance(value, list):
    raise ValueError(f"{name!r} is no list of passage ids")
  return [_id(item, f"{name}[{place}]") for place, item in enumerate(value)]


def _id(item: Any, name: str) -> tuple[str, float | None]:
  if not isinstance(item, dict):
    return fields.identifier(item, name), None
  score = item.get("ce-score")
  return (
    fields.identifier(item.get("pid"), f"{name}.pid"),
    None if score is None else json_streams.score(score, f"{name}.ce-score"),
  )


def _in_turn(systems: list[Ids]) -> Ids:
  turns = itertools.chain.from_iterable(itertools.zip_longest(*systems))
  return [item for item in turns if item is not None]


def _scored(ids: Ids, scores: Mapping[str, float], place: str) -> list[Passage]:
  return by_ids.named(
    [identifier for identifier, _ in ids],
    place,
    [scores.get(identifier, score) for identifier, score in ids],
  )


def _read_scores(
  path: pathlib.Path, ledger: Ledger
) -> Iterator[tuple[int, stores.Row]]:
  """Query ids and the scores of their passages as JSON."""
  for number, query, scores in json_streams.members(path):
    try:
      if not isinstance(scores, dict):
        raise ValueError("an object {passage id: score} was due")
      checked = {p: json_streams.score(s, p) for p, s in scores.items()}
    except ValueError as error:
      ledger.leave_out("bad_scores", f"{path}:{number}: {query!r}: {error}")
    else:
      yield number, (query, "", json.dumps(checked))
