"""sentence-transformers' lists of hard negatives for MS MARCO, by ids.

  {"qid": 7, "pos": [1], "neg": {"bm25": [2, 3], "tas-b": [3, 4]}}

An id may have its score beside it: {"pid": 2, "ce-score": -3.1}.  Scores may
also come from a file of their own: {query id: {passage id: score}}, one JSON
object.
"""

import itertools
import json
import pathlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gtr_jax.files import fields, lines
from gtr_jax.labelled import by_ids, json_streams, stores
from gtr_jax.labelled.ledger import Ledger
from gtr_jax.labelled.question import Question
from gtr_jax.labelled.settings import Settings


@dataclass(frozen=True)
class _Line:
  """A line: ids, and the scores that stand beside them."""

  query: str
  positives: list[str]
  negatives: dict[str, list[str]]
  scores: dict[str, float]


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

  def listed() -> Iterator[by_ids.Listed]:
    for number, line in ledger.parsed(path, _parse):
      systems.update(line.negatives)
      if not settings.keeps(line.query):
        ledger.counts["queries_outside_fraction"] += 1
        continue
      place = f"{path}:{number}"
      found = known.find([line.query])[0] if known else None
      scores = {**line.scores, **(json.loads(found.text) if found else {})}
      wanted = settings.systems or line.negatives
      negatives = _in_turn([line.negatives.get(name, []) for name in wanted])
      yield by_ids.Listed(
        line.query,
        by_ids.Named(line.positives, place, scores),
        by_ids.Named(negatives, place, scores),
        place,
      )
    unknown = set(settings.systems) - systems
    if unknown and systems:
      raise ValueError(
        f"{path}: has no negatives of {min(unknown)!r}: it has those of"
        f" {', '.join(sorted(systems))}"
      )

  return by_ids.questions(listed(), joined, settings, ledger)


def _parse(line: str) -> _Line:
  record = lines.parse_object(line)
  query = fields.identifier(record.get("qid"), "qid")
  negatives = record.get("neg")
  if not isinstance(negatives, dict):
    raise ValueError(
      "'neg' is no object: due is {name of a system: list of passage ids}"
    )
  scores: dict[str, float] = {}
  return _Line(
    query,
    _ids(record.get("pos"), "pos", scores),
    {name: _ids(ids, f"neg.{name}", scores) for name, ids in negatives.items()},
    scores,
  )


def _ids(value: Any, name: str, scores: dict[str, float]) -> list[str]:
  """The ids of a list; scores beside them are put into `scores`."""
  if not isinstance(value, list):
    raise ValueError(f"{name!r} is no list of passage ids")
  if set(map(type, value)) == {int}:  # As nearly all are, by the hundred.
    return list(map(str, value))
  return [
    _id(item, f"{name}[{place}]", scores) for place, item in enumerate(value)
  ]


def _id(item: Any, name: str, scores: dict[str, float]) -> str:
  if not isinstance(item, dict):
    return fields.identifier(item, name)
  identifier = fields.identifier(item.get("pid"), f"{name}.pid")
  if item.get("ce-score") is not None:
    scores[identifier] = json_streams.score(
      item["ce-score"], f"{name}.ce-score"
    )
  return identifier


def _in_turn(systems: list[list[str]]) -> list[str]:
  turns = itertools.chain.from_iterable(itertools.zip_longest(*systems))
  return [item for item in turns if item is not None]


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
