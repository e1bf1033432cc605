"""Fields of a JSON record, checked one by one.

A function takes the value that came and the name that its message shall bear,
and raises a ValueError: what came, and what was due.
"""

from typing import Any

_KINDS = {
  bool: "true or false",
  dict: "an object",
  type(None): "missing or null",
}


def string(value: Any, name: str, due: str = "a string") -> str:
  """A text that UTF-8 can hold; it may be empty."""
  if not isinstance(value, str):
    raise ValueError(f"{name!r} is {_kind(value)}, {due} was due")
  return _encodable(value, name)


def optional_string(value: Any, name: str) -> str:
  """Likewise, and empty where there is none."""
  return "" if value is None else string(value, name)


def identifier(value: Any, name: str) -> str:
  """An id: a text that is not empty, or a whole number as a text."""
  if isinstance(value, bool) or not isinstance(value, (str, int)):
    raise ValueError(
      f"{name!r} is {_kind(value)}, a string or a whole number was due"
    )
  if value == "":
    raise ValueError(
      f"the id '' is empty: give {name!r} a text or a whole number"
    )
  return _encodable(str(value), name)


def _encodable(text: str, name: str) -> str:
  try:
    text.encode("utf-8")
  except UnicodeEncodeError as error:
    raise ValueError(
      f"{name!r} holds half a character (lone surrogate"
      f" \\u{ord(text[error.start]):04x}): repair the escape"
    ) from None
  return text


def _kind(value: Any) -> str:
  return _KINDS.get(type(value), f"a {type(value).__name__}")
