"""Tevatron's training files, a query a line.

  {"query_id": "7", "query": "...",
   "positive_passages": [{"docid": "1", "title": "...", "text": "..."}],
   "negative_passages": [...]}

A title "-" is none.  Its MS MARCO has RocketQA's titles.
"""

import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gtr_jax.files import fields, lines
from gtr_jax.labelled import inputs, rocketqa_training
from gtr_jax.labelled.ledger import Ledger
from gtr_jax.labelled.question import Passage, Question
from gtr_jax.labelled.settings import Settings


def questions(
  paths: Sequence[str | pathlib.Path], settings: Settings, ledger: Ledger
) -> Iterator[Question]:
  """The questions of files, or of all in a folder, in order.

  Raises:
    lines.BadLineError: bad data, unless it is left out.
  """
  for path in inputs.listed(paths, ".jsonl"):
    for number, question in ledger.parsed(path, _parse):
      if settings.keeps(question.id or question.text):
        yield placed(question, f"{path}:{number}")
      else:
        ledger.counts["queries_outside_fraction"] += 1


def placed(question: Question, place: str) -> Question:
  """The question with the place it came from, also in its passages."""
  return Question(
    question.text,
    [passage._replace(place=place) for passage in question.positives],
    [passage._replace(place=place) for passage in question.negatives],
    question.id,
    place,
  )


def _parse(line: str) -> Question:
  record = lines.parse_object(line)
  identifier = record.get("query_id")
  return Question(
    fields.string(record.get("query"), "query"),
    _passages(record, "positive_passages"),
    _passages(record, "negative_passages"),
    None if identifier is None else fields.identifier(identifier, "query_id"),
  )


def _passages(record: Mapping[str, Any], name: str) -> list[Passage]:
  value = record.get(name)
  if value is None and name == "negative_passages":
    return []
  if not isinstance(value, list):
    raise ValueError(
      f"{name!r} is no list: due is a list of {{docid, title, text}}"
    )
  return [_passage(item, f"{name}[{n}]") for n, item in enumerate(value)]


def _passage(item: Any, name: str) -> Passage:
  if not isinstance(item, dict):
    raise ValueError(f"{name!r} is no object: due is {{docid, title, text}}")
  identifier = item.get("docid")
  title = fields.optional_string(item.get("title"), f"{name}.title")
  return Passage(
    None if identifier is None else fields.identifier(identifier, f"{name}.id"),
    fields.string(item.get("text"), f"{name}.text"),
    rocketqa_training.title(title),
  )
