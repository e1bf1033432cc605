"""Parameter names: trees of arrays as flat "a/b/c" tables, and back.

T5X's names are the project's file format, so everything that compares, selects
or reports parameters speaks of the flat names.
"""

import dataclasses
import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import numpy as np

_OF_AN_ENCODER = re.compile(r"(^|/)(encoder|token_embedder)/")


def flatten(tree: Mapping[str, Any]) -> dict[str, Any]:
  """The leaves of nested mappings under "a/b/c" names, in the tree's order.

  Raises:
    ValueError: a key that is no text, is empty or holds a "/", or a mapping
      below the top that is empty: `unflatten` could not bring these back.
  """
  return dict(_leaves(tree, ""))


def _leaves(tree: Mapping[str, Any], prefix: str):
  for key, value in tree.items():
    if not isinstance(key, str) or not key or "/" in key:
      raise ValueError(
        f"parameter key {key!r} under {prefix!r}: due is a text without '/'"
      )
    if not isinstance(value, Mapping):
      yield prefix + key, value
    elif value:
      yield from _leaves(value, f"{prefix}{key}/")
    else:
      raise ValueError(f"parameter group {prefix + key!r} is empty")


def unflatten(flat: Mapping[str, Any]) -> dict[str, Any]:
  """Nested dicts from "a/b/c" names; `flatten(unflatten(flat)) == flat`.

  Raises:
    ValueError: an empty part in a name, or a name that is both an array and a
      group of arrays.
  """
  tree: dict[str, Any] = {}
  for name, value in flat.items():
    *parents, last = name.split("/")
    if not last or not all(parents):
      raise ValueError(f"parameter name {name!r} has an empty part")
    node = tree
    for part in parents:
      node = node.setdefault(part, {})
      if not isinstance(node, dict):
        raise ValueError(f"{name!r}: {part!r} is an array and a group as well")
    if last in node:
      raise ValueError(f"{name!r} is an array and a group as well")
    node[last] = value
  return tree


def path_name(path: Iterable[Any]) -> str:
  """The "a/b/c" name of a leaf, from the path that `jax.tree_util` gives.

  Attributes on the way, such as the box of an array with axis names, are no
  part of the name.
  """
  keys = (key for key in path if isinstance(key, jax.tree_util.DictKey))
  return "/".join(str(key.key) for key in keys)


@dataclasses.dataclass(frozen=True)
class Differences:
  """How the names found differ from the names expected, both sorted.

  Attributes:
    unused: found, but nobody asked for them.
    missing: expected, but not found.
  """

  unused: tuple[str, ...]
  missing: tuple[str, ...]


def compare(
  expected: Mapping[str, Any], found: Mapping[str, Any]
) -> Differences:
  """Unused and missing names of two flat tables of arrays (or their shapes).

  Args:
    expected: name to array, `jax.ShapeDtypeStruct`, or shape.
    found: likewise.

  Raises:
    ValueError: arrays of one name with two shapes; all of them in one line.
  """
  wrong = [
    f"{name} is {shape_of(found[name])}, due is {shape_of(expected[name])}"
    for name in sorted(expected.keys() & found.keys())
    if shape_of(found[name]) != shape_of(expected[name])
  ]
  if wrong:
    more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
    raise ValueError(
      f"arrays of another shape than the model's: {'; '.join(wrong[:5])}{more}"
    )
  return Differences(
    unused=tuple(sorted(found.keys() - expected.keys())),
    missing=tuple(sorted(expected.keys() - found.keys())),
  )


def check_encoder(missing: Iterable[str]) -> None:
  """Refuses an encoder of which a part is missing; a head may be trained anew.

  Raises:
    ValueError: one of the names is the encoder's or its token table's.
  """
  parts = [name for name in missing if _OF_AN_ENCODER.search(name)]
  if parts:
    more = f" and {len(parts) - 3} more" if len(parts) > 3 else ""
    raise ValueError(
      f"lacks {', '.join(parts[:3])}{more}, without which an encoder is not"
      " whole; was it copied whole?"
    )


def shape_of(leaf: Any) -> tuple[int, ...]:
  """The shape of an array, or of what is a shape already."""
  if isinstance(leaf, tuple):
    return leaf
  return tuple(leaf.shape if hasattr(leaf, "shape") else np.shape(leaf))


def nearest(name: str, known: Iterable[str], num_names: int = 3) -> list[str]:
  """The known names most like `name`, for error messages."""
  return difflib.get_close_matches(name, list(known), num_names, cutoff=0.0)
