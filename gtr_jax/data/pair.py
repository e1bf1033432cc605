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

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gtr_jax.files import fields


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


class EmptyTextError(ValueError):
  """A record with a text that holds nothing but white space."""


def parse_pair(record: Mapping[str, Any]) -> Pair:
  """The pair of one JSON object.

  Raises:
    ValueError: what is wrong with the record, without file and line.
  """
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
  if many and isinstance(value, list):
    if due and not value:
      raise ValueError(f"{name!r} is an empty list: give at least one text")
    return tuple(_text(text, place) for text, place in _places(value, name))
  kind = "a string or a list of strings" if many else "a string"
  return (_text(value, name, kind),)


def _text(value: Any, name: str, due: str = "a string") -> str:
  text = fields.string(value, name, due)
  if not text.strip():
    raise EmptyTextError(
      f"{name!r} holds an empty text: give a text or delete the line"
    )
  return text


def _places(values: list[Any], name: str) -> Iterator[tuple[Any, str]]:
  """The values of a list, each with what a message calls it."""
  return ((value, f"{name}[{place}]") for place, value in enumerate(values))


def _ids(
  record: Mapping[str, Any], names: Sequence[str], num_texts: int, what: str
) -> tuple[str, ...] | None:
  """The ids of the texts in another field, or None."""
  name, value = _field(record, names)
  if name is None or value is None:
    return None
  places = _places(value, name) if isinstance(value, list) else [(value, name)]
  ids = [fields.identifier(value, place) for value, place in places]
  if len(ids) != num_texts:
    raise ValueError(
      f"{name!r} holds {len(ids)} ids for {num_texts} texts in {what!r}:"
      " give one id a text"
    )
  return tuple(ids)


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


def _names(record: Iterable[str], at_most: int = 6) -> str:
  names = [str(name)[:40] for name in record]
  rest = ["..."] if len(names) > at_most else []
  return ", ".join(map(repr, names[:at_most])) + "".join(rest) or "no fields"
