"""Values in a config that cannot be what a parameter takes.

gin passes on whatever is written.  A text where a number is due would be
noticed late, by a library, in words that name neither the file nor the macro.
"""

import dataclasses
import inspect
import types
import typing
from collections import abc
from typing import Any, Literal

from gin import config as gin_internals

_PLAIN = (bool, int, float, str, types.NoneType)
# Containers: no plain value is one, and a text is not a list of its letters.
_CONTAINERS = {
  abc.Sequence: "a list",
  tuple: "a list",
  list: "a list",
  abc.Mapping: "a mapping",
  dict: "a mapping",
}


def check() -> None:
  """Compares the plain values of the config with the types of parameters.

  Raises:
    ValueError: in one line, for the first value that does not fit.
  """
  for (_, selector), bindings in gin_internals._CONFIG.items():
    configurable = gin_internals._REGISTRY.get_match(selector)
    if configurable is None or selector == "gin.macro":
      continue
    parameters = inspect.signature(configurable.wrapped).parameters
    for name, bound in bindings.items():
      macro, value = _resolved(bound)
      parameter = parameters.get(name)
      if parameter is None or not isinstance(value, _PLAIN):
        continue
      hints = _members(parameter.annotation)
      if all(map(_is_telling, hints)) and not any(_fits(value, hints)):
        short = ".".join([*selector.split(".")[-2:], name])
        raise ValueError(
          f"gin: {macro or short} is {value!r}, due is"
          f" {' or '.join(map(_word, hints))}"
        )


def _resolved(value: Any) -> tuple[str | None, Any]:
  """The first macro that a value goes through, and what it ends as."""
  first = None
  seen = set()
  while isinstance(value, gin_internals.ConfigurableReference):
    name, _, selector = value.scoped_selector.rpartition("/")
    if selector != "gin.macro" or name in seen:
      break
    seen.add(name)
    first = first or name
    value = gin_internals._CONFIG.get((name, "gin.macro"), {}).get("value")
  return first, value


def _members(hint: Any) -> tuple[Any, ...]:
  """The types of a union, or the one type."""
  if typing.get_origin(hint) in (typing.Union, types.UnionType):
    return typing.get_args(hint)
  return (hint,)


def _is_telling(hint: Any) -> bool:
  """Whether it can be told that a plain value is none of this type."""
  return (
    hint in _PLAIN
    or typing.get_origin(hint) is Literal
    or typing.get_origin(hint) in _CONTAINERS
    or dataclasses.is_dataclass(hint)
  )


def _fits(value: Any, hints: tuple[Any, ...]):
  for hint in hints:
    if typing.get_origin(hint) is Literal:
      yield value in typing.get_args(hint)
    elif hint is float:
      yield isinstance(value, int | float) and not isinstance(value, bool)
    elif hint is int:
      yield isinstance(value, int) and not isinstance(value, bool)
    else:
      yield hint in _PLAIN and isinstance(value, hint)


def _word(hint: Any) -> str:
  if hint is types.NoneType:
    return "None"
  if typing.get_origin(hint) is Literal:
    return " or ".join(map(repr, typing.get_args(hint)))
  if isinstance(hint, type) and dataclasses.is_dataclass(hint):
    return f"@{hint.__module__.split('.')[-1]}.{hint.__name__}()"
  if typing.get_origin(hint) in _CONTAINERS:
    return _CONTAINERS[typing.get_origin(hint)]
  words = {str: "a text", int: "a whole number", float: "a number"}
  return words.get(hint, "True or False")
