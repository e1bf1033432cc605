"""DPR's files, such as biencoder-nq-train.json: one JSON list of questions.

  {"question": "...", "answers": [...],
   "positive_ctxs": [{"title", "text", "passage_id" or "psg_id"}],
   "hard_negative_ctxs": [...], "negative_ctxs": [...]}

Hard negatives come first; `systems` chooses between the two lists.  The scores
in these files are of different searches and are not read.
"""

import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gtr_jax.files import fields
from gtr_jax.labelled import inputs, json_streams, tevatron
from gtr_jax.labelled.ledger import Ledger
from gtr_jax.labelled.question import Passage, Question
from gtr_jax.labelled.settings import Settings

_NEGATIVES = ("hard_negative_ctxs", "negative_ctxs")


def questions(
  paths: Sequence[str | pathlib.Path], settings: Settings, ledger: Ledger
) -> Iterator[Question]:
  """The questions of files, or of all in a folder, in order.

  Raises:
    ValueError: RocketQA's files of NQ, which another reader takes.
    lines.BadLineError: bad data, unless it is left out.
  """
  unknown = set(settings.systems) - set(_NEGATIVES)
  if unknown:
    raise ValueError(
      f"there are no negatives of {min(unknown)!r}: give"
      f" {' or '.join(_NEGATIVES)}"
    )
  for path in inputs.listed(paths, ".json"):
    if ".tsv" in path.suffixes or ".txt" in path.suffixes:
      raise ValueError(
        f"{path}: DPR's .json was due: read RocketQA's files of NQ with"
        " --format=rocketqa"
      )
    for number, item in json_streams.items(path):
      place = f"{path}:item {number}"
      try:
        question = _parse(item, settings.systems or _NEGATIVES)
      except ValueError as error:
        ledger.leave_out("bad_item", f"{place}: {error}")
        continue
      if settings.keeps(question.text):
        yield tevatron.placed(question, place)
      else:
        ledger.counts["queries_outside_fraction"] += 1


def _parse(item: Any, negatives: Sequence[str]) -> Question:
  if not isinstance(item, dict):
    raise ValueError(f"got a {type(item).__name__}, an object was due")
  return Question(
    fields.string(item.get("question"), "question"),
    _passages(item, "positive_ctxs", due=True),
    [
      passage
      for name in negatives
      for passage in _passages(item, name, due=False)
    ],
  )


def _passages(
  item: Mapping[str, Any], name: str, *, due: bool
) -> list[Passage]:
  value = item.get(name, None if due else [])
  if not isinstance(value, list):
    raise ValueError(f"{name!r} is no list: due is a list of {{title, text}}")
  return [_passage(ctx, f"{name}[{n}]") for n, ctx in enumerate(value)]


def _passage(ctx: Any, name: str) -> Passage:
  if not isinstance(ctx, dict):
    raise ValueError(f"{name!r} is no object: due is {{title, text}}")
  identifier = ctx.get("passage_id", ctx.get("psg_id"))
  title = fields.optional_string(ctx.get("title"), f"{name}.title")
  return Passage(
    None if identifier is None else fields.identifier(identifier, f"{name}.id"),
    fields.string(ctx.get("text"), f"{name}.text"),
    title.strip(),
  )
