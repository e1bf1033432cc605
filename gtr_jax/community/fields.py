"""Any JSONL of questions and answers, by the names of its fields.

Also the forms of sentence-transformers' embedding-training-data: lists and
objects of texts that belong together.

Source: the data card of
https://huggingface.co/datasets/sentence-transformers/embedding-training-data.
"""

import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gtr_jax.community.html_text import Text
from gtr_jax.community.question import Question
from gtr_jax.files import fields, lines


@dataclass(frozen=True)
class Names:
  """The fields of a record; None where there is no such field.

  Attributes:
    answer: a text, or a list of texts, the best first.
    body: joins the title in the query if `with_body`.
  """

  title: str = "title"
  body: str | None = "body"
  answer: str = "answer"
  id: str | None = "id"
  with_body: bool = False


def read(
  path: pathlib.Path,
  site: str,
  names: Names,
  on_bad_line: lines.OnBadLine,
  report: lines.Report,
  bad: list[int],
) -> Iterator[Question]:
  """The questions of a file.

  Args:
    bad: gets the number of each line that is left out.

  Raises:
    lines.BadLineError: a line of no known form, unless it is skipped.
  """
  return lines.parse_lines(
    path,
    lambda number, line: parse(line, f"{site}/{number}", site, names),
    on_bad_line,
    report,
    lambda number, error: bad.append(number),
  )


def parse(line: str, otherwise: str, site: str, names: Names) -> Question:
  """The question of a line.

  Args:
    otherwise: its id if it brings none.

  Raises:
    ValueError: what came, and what was due.
  """
  try:
    record = json.loads(line)
  except (ValueError, RecursionError) as error:
    raise ValueError(f"not JSON ({error}): repair or delete the line") from None
  if isinstance(record, Mapping) and isinstance(record.get("texts"), list):
    record = record["texts"]
  if isinstance(record, list):
    return _of_list(record, otherwise)
  if not isinstance(record, Mapping):
    raise ValueError(
      f"a {type(record).__name__} came, an object or a list was due"
    )
  if isinstance(record.get("set"), list):
    first, *others = _texts(record["set"], "set", least=2)
    return _question(otherwise, first, others)
  if "query" in record and "pos" in record:
    return _question(
      otherwise,
      fields.string(record["query"], "query"),
      _texts(record["pos"], "pos"),
      _texts(record.get("neg") or [], "neg", least=0),
    )
  return _of_fields(record, otherwise, site, names)


def _of_list(texts: Sequence[Any], otherwise: str) -> Question:
  """["query", "positive"] or ["query", "positive", "negative"]."""
  if len(texts) not in (2, 3):
    raise ValueError(
      f"a list of {len(texts)} came, two texts were due, or three with a"
      " negative"
    )
  query, positive, *negatives = _texts(texts, "list")
  return _question(otherwise, query, [positive], negatives)


def _of_fields(
  record: Mapping[str, Any], otherwise: str, site: str, names: Names
) -> Question:
  for name in (names.title, names.answer):
    if name not in record:
      raise ValueError(
        f"no field {name!r} among {', '.join(list(record)[:8]) or 'none'}: name"
        " them by --title_field and --answer_field"
      )
  query = fields.string(record[names.title], names.title)
  if names.with_body and names.body is not None:
    body = fields.optional_string(record.get(names.body), names.body)
    query = f"{query} {body}"
  key = record.get(names.id) if names.id is not None else None
  name = otherwise
  if key is not None:
    name = f"{site}/{fields.identifier(key, names.id or 'id')}"
  return _question(name, query, _texts(record[names.answer], names.answer))


def _question(
  name: str, query: str, answers: Sequence[str], negatives: Sequence[str] = ()
) -> Question:
  return Question(
    name,
    _plain(query),
    tuple(Text(_plain(answer)) for answer in answers),
    tuple(map(_plain, negatives)),
  )


def _texts(value: Any, name: str, least: int = 1) -> list[str]:
  texts = value if isinstance(value, list) else [value]
  if len(texts) < least:
    raise ValueError(f"{name!r} holds {len(texts)} texts, {least} were due")
  return [
    fields.string(text, f"{name}[{place}]") for place, text in enumerate(texts)
  ]


def _plain(text: str) -> str:
  return " ".join(text.split())
