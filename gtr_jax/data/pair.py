"""A training pair, and how a JSON record becomes one.

A record is one JSON object:

  query                      text
  positive | positives       text, or a list of at least one text
  negative | negatives       optional: text, or a list of texts
  query_id | _id             optional id of the query
  positive_id | positive_ids optional, as many as there are positives
  negative_id | negative_ids optional, as many as there are negatives

An id is a string or a whole number.  An optional field may be null.  Other
fields are ignored.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Pair:
  """A query with the passages that answer it and some that do not.

  Attributes:
    positives: at least one.
    positive_ids, negative_ids: None, or one id a passage.
  """

  query: str
  positives: tuple[str, ...]
  negatives: tuple[str, ...] = ()
  query_id: str | None = None
  positive_ids: tuple[str, ...] | None = None
  negative_ids: tuple[str, ...] | None = None


def parse_pair(record: Any) -> Pair:
  """The pair of one decoded JSON line.

  Raises:
    ValueError: what is wrong with the record, without file and line.
  """
  if not isinstance(record, Mapping):
    raise ValueError(
      f"got {_kind(record)} where a JSON object was due: write one"
      ' {"query": ..., "positive": ...} a line'
    )
  (query,) = _texts(record, ("query",), many=False, due=True)
  positives = _texts(record, ("positive", "positives"), many=True, due=True)
  negatives = _texts(record, ("negative", "negatives"), many=True, due=False)
  query_ids = _ids(record, ("query_id", "_id"), 1, "query")
  pair = Pair(
    query=query,
    positives=positives,
    negatives=negatives,
    query_id=query_ids[0] if query_ids else None,
    positive_ids=_ids(
      record, ("positive_id", "positive_ids"), len(positives), "positive"
    ),
    negative_ids=_ids(
      record, ("negative_id", "negative_ids"), len(negatives), "negative"
    ),
  )
  _refuse_contradictions(pair)
  return pair


def _texts(
  record: Mapping[str, Any],
  names: Sequence[str],
  *,
  many: bool,
  due: bool,
) -> tuple[str, ...]:
  """The texts of a field that has one of these names."""
  name, value = _field(record, names)
  if value is None and not due:
    return ()
  if name is None:
    raise ValueError(
      f"no field {names[0]!r} among {_names(record)}: every line needs"
      " 'query' and 'positive'"
    )
  values = value if many and isinstance(value, list) else [value]
  if due and not values:
    raise ValueError(f"{name!r} is an empty list: give at least one text")
  kind = "a string or a list of strings" if many else "a string"
  return tuple(_checked(name, text, kind) for text in values)


def _checked(name: str, text: Any, due: str) -> str:
  if not isinstance(text, str):
    raise ValueError(
      f"{name!r} holds {_kind(text)} where {due} was due: write it as text"
    )
  if not text.strip():
    raise ValueError(
      f"{name!r} holds an empty text: give a text or delete the line"
    )
  _check_encodable(name, text)
  return text


def _check_encodable(name: str, text: str) -> None:
  try:
    text.encode("utf-8")
  except UnicodeEncodeError as error:
    raise ValueError(
      f"{name!r} holds half of a character (lone surrogate"
      f" \\u{ord(text[error.start]):04x}): repair the escape"
    ) from None


def _ids(
  record: Mapping[str, Any], names: Sequence[str], num_texts: int, what: str
) -> tuple[str, ...] | None:
  """The ids of the texts in another field, or None."""
  name, value = _field(record, names)
  if name is None or value is None:
    return None
  values = value if isinstance(value, list) else [value]
  if len(values) != num_texts:
    raise ValueError(
      f"{name!r} holds {len(values)} ids for {num_texts} texts in {what!r}:"
      " give one id a text"
    )
  for identifier in values:
    if isinstance(identifier, bool) or not isinstance(identifier, (str, int)):
      raise ValueError(
        f"{name!r} holds {_kind(identifier)} where a string or a whole number"
        " was due: write ids as text"
      )
    if identifier == "":
      raise ValueError(f"{name!r} holds an empty id: leave the field out")
    _check_encodable(name, str(identifier))
  return tuple(str(identifier) for identifier in values)


def _field(
  record: Mapping[str, Any], names: Sequence[str]
) -> tuple[str | None, Any]:
  present = [name for name in names if name in record]
  if len(present) > 1:
    raise ValueError(
      f"both {present[0]!r} and {present[1]!r} are given: keep one of the two"
    )
  return (present[0], record[present[0]]) if present else (None, None)


def _refuse_contradictions(pair: Pair) -> None:
  """A passage cannot be right and wrong for one query."""
  if set(pair.positives) & set(pair.negatives):
    raise ValueError(
      "a negative has the text of a positive: a passage is one or the other,"
      " delete it from one"
    )
  same = set(pair.positive_ids or ()) & set(pair.negative_ids or ())
  if same:
    raise ValueError(
      f"a negative has the id of a positive ({min(same)!r}): a passage is one"
      " or the other, delete it from one"
    )


_KINDS = {
  bool: "true or false",
  int: "a number",
  float: "a number",
  str: "a text",
  list: "a list",
  dict: "an object",
  type(None): "null",
}


def _kind(value: Any) -> str:
  return _KINDS.get(type(value), type(value).__name__)


def _names(record: Iterable[str], at_most: int = 6) -> str:
  names = [str(name)[:40] for name in record]
  rest = ["..."] if len(names) > at_most else []
  return ", ".join(map(repr, names[:at_most])) + "".join(rest) or "no fields"
