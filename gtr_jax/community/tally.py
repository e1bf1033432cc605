"""Counts by name, "questions.closed"; sums of several are their totals."""

import collections
from collections.abc import Mapping
from typing import Any

Tally = collections.Counter[str]

_LENGTHS = "words"


def count_pair(tally: Tally, query: str, answers: tuple[str, ...]) -> None:
  """A pair that comes out, with the lengths of its texts."""
  tally["pairs.out"] += 1
  tally["answers.out"] += len(answers)
  _count_length(tally, "query", query)
  for answer in answers:
    _count_length(tally, "answer", answer)


def _count_length(tally: Tally, what: str, text: str) -> None:
  num_words = len(text.split())
  tally[f"{_LENGTHS}.{what}.total"] += num_words
  # Texts of 8 to 15 words count under 8.
  at_least = 1 << (num_words.bit_length() - 1) if num_words else 0
  tally[f"{_LENGTHS}.{what}.from_{at_least}"] += 1


def nested(tally: Mapping[str, int]) -> dict[str, Any]:
  """{"questions.closed": 2} as {"questions": {"closed": 2}}, sorted."""
  tree: dict[str, Any] = {}
  for name in sorted(tally, key=_order):
    *path, last = name.split(".")
    node = tree
    for part in path:
      node = node.setdefault(part, {})
    node[last] = tally[name]
  return tree


def _order(name: str) -> list[tuple[int, str]]:
  """Names in alphabetical order, numbers in theirs."""
  parts = []
  for part in name.split("."):
    _, _, number = part.rpartition("_")
    parts.append((int(number) if number.isdecimal() else 0, part))
  return parts
