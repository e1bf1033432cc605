"""JSONL as sentence-transformers and FlagEmbedding train on it.

  triplets    {"query", "positive", "negative"}
  n-tuples    {"query", "positive", "negative_1", ..., "negative_5"}
  lists       {"query", "pos": [...], "neg": [...]}
  labels      {"query", "passages": [...], "labels": [1, 0, ...]}
  pairs       {"query", "passage", "label": 0 or 1}, neighbouring lines together

"anchor" or "question" may stand for "query", "answer" for "positive".  "scores"
holds a number a passage, the positives' first; or "pos_scores" and
"neg_scores".
"""

import itertools
import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from gtr_jax.files import fields, lines
from gtr_jax.labelled import inputs, json_streams, tevatron
from gtr_jax.labelled.ledger import Ledger
from gtr_jax.labelled.question import Passage, Question
from gtr_jax.labelled.settings import Settings

_QUERY = ("query", "anchor", "question", "sentence1")
_POSITIVE = ("positive", "positives", "pos", "answer")
_NEGATIVE = ("negative", "negatives", "neg")
_NUMBERED = re.compile(r"negative_(\d+)")


class _Record(NamedTuple):
  """A line, before lines of one query are put together."""

  question: Question
  is_labelled_pair: bool


def questions(
  paths: Sequence[str | pathlib.Path], settings: Settings, ledger: Ledger
) -> Iterator[Question]:
  """The questions of files, or of all in a folder, in order.

  Raises:
    lines.BadLineError: bad data, unless it is left out.
  """
  for path in inputs.listed(paths, ".jsonl"):
    for question in _of_file(path, ledger):
      if settings.keeps(question.id or question.text):
        yield question
      else:
        ledger.counts["queries_outside_fraction"] += 1


def _of_file(path: pathlib.Path, ledger: Ledger) -> Iterator[Question]:
  placed = (
    _Record(tevatron.placed(record.question, f"{path}:{number}"), pair)
    for number, record in ledger.parsed(path, _parse)
    for pair in (record.is_labelled_pair,)
  )
  groups = itertools.groupby(
    placed, lambda r: (r.is_labelled_pair, r.question.text)
  )
  for (is_labelled_pair, _), group in groups:
    found = (record.question for record in group)
    yield from [_together(found)] if is_labelled_pair else found


def _together(group: Iterable[Question]) -> Question:
  """One question of several about the same query."""
  every = list(group)
  return Question(
    every[0].text,
    [passage for question in every for passage in question.positives],
    [passage for question in every for passage in question.negatives],
    every[0].id,
    every[0].place,
  )


def _parse(line: str) -> _Record:
  record = lines.parse_object(line)
  query = fields.string(_due(record, _QUERY), _named(record, _QUERY))
  identifier = record.get("query_id", record.get("_id"))
  labels = record.get("labels", record.get("label"))
  if "passages" in record or "passage" in record:
    positives, negatives = _labelled(record, labels)
  else:
    positives, negatives = _listed(record)
  question = Question(
    query,
    positives,
    negatives,
    None if identifier is None else fields.identifier(identifier, "query_id"),
  )
  return _Record(question, "passage" in record)


def _listed(
  record: Mapping[str, Any],
) -> tuple[list[Passage], list[Passage]]:
  positives = _texts(_due(record, _POSITIVE), _named(record, _POSITIVE))
  name = _named(record, _NEGATIVE)
  negatives = _texts(record[name], name) if record.get(name) else []
  numbered = sorted(
    (int(found[1]), name)
    for name in record
    if (found := _NUMBERED.fullmatch(name)) and record[name] is not None
  )
  for _, name in numbered:
    negatives += _texts(record[name], name)
  scores = _scores(record, len(positives), len(negatives))
  ids = [
    *_ids(record, "positive", len(positives)),
    *_ids(record, "negative", len(negatives)),
  ]
  passages = [
    Passage(identifier, text, score=score)
    for text, score, identifier in zip(
      [*positives, *negatives], scores, ids, strict=True
    )
  ]
  return passages[: len(positives)], passages[len(positives) :]


def _labelled(
  record: Mapping[str, Any], labels: Any
) -> tuple[list[Passage], list[Passage]]:
  name = "passages" if "passages" in record else "passage"
  texts = _texts(record[name], name)
  marks = _numbers(labels, "labels" if name == "passages" else "label")
  if len(marks) != len(texts):
    raise ValueError(
      f"{len(marks)} labels for {len(texts)} passages: give one each"
    )
  if set(marks) - {0.0, 1.0}:
    raise ValueError("a label is neither 0 nor 1: give scores as 'scores'")
  scores: Sequence[float | None] = [None] * len(texts)
  if record.get("scores") is not None:
    scores = _numbers(record["scores"], "scores")
    _agree(len(scores), len(texts), "scores")
  passages = [
    Passage(None, text, score=score)
    for text, score in zip(texts, scores, strict=True)
  ]
  return (
    [p for p, mark in zip(passages, marks, strict=True) if mark == 1],
    [p for p, mark in zip(passages, marks, strict=True) if mark == 0],
  )


def _scores(
  record: Mapping[str, Any], num_positives: int, num_negatives: int
) -> Sequence[float | None]:
  """A score a passage, the positives' first."""
  value = record.get("scores", record.get("score"))
  if isinstance(value, list):
    scores = _numbers(value, "scores")
    _agree(len(scores), num_positives + num_negatives, "scores")
    return scores
  found: list[float | None] = []
  for name, count in (("pos", num_positives), ("neg", num_negatives)):
    value = record.get(f"{name}_scores")
    if value is None:
      found += [None] * count
      continue
    scores = _numbers(value, f"{name}_scores")
    _agree(len(scores), count, f"{name}_scores")
    found += scores
  return found


def _agree(number: int, due: int, name: str) -> None:
  if number != due:
    raise ValueError(f"{name!r} holds {number} numbers for {due} passages")


def _ids(record: Mapping[str, Any], kind: str, count: int) -> list[str | None]:
  value = record.get(f"{kind}_ids", record.get(f"{kind}_id"))
  if value is None:
    return [None] * count
  values = value if isinstance(value, list) else [value]
  _agree(len(values), count, f"{kind}_ids")
  return [fields.identifier(item, f"{kind}_ids") for item in values]


def _numbers(value: Any, name: str) -> list[float]:
  values = value if isinstance(value, list) else [value]
  return [json_streams.score(item, name) for item in values]


def _texts(value: Any, name: str) -> list[str]:
  if isinstance(value, list):
    return [fields.string(v, f"{name}[{n}]") for n, v in enumerate(value)]
  return [fields.string(value, name, "a string or a list of strings")]


def _named(record: Mapping[str, Any], names: Sequence[str]) -> str:
  return next((name for name in names if name in record), names[0])


def _due(record: Mapping[str, Any], names: Sequence[str]) -> Any:
  name = _named(record, names)
  if name not in record:
    raise ValueError(f"there is none of the fields {', '.join(names)}")
  return record[name]
