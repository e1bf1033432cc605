"""Texts that come again: equal ones by their keys, and nearly equal ones."""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from gtr_jax.data import near_duplicates


@dataclass(frozen=True)
class Repeated:
  """How often things come again.

  Attributes:
    num_rows: things, the repeated ones counted as often as they come.
    num_again: those that have come before.
    largest: for the most frequent: how often, and the first two rows.
    group_sizes: how many things come once, twice, … ; index 0 is once.
  """

  num_rows: int
  num_again: int
  largest: list[tuple[int, int, int]]
  group_sizes: np.ndarray


@dataclass(frozen=True)
class NearlyRepeated:
  """Texts that nearly equal an earlier one, without those that equal one.

  Attributes:
    num_compared: the first texts, which were compared; the rest were not.
    num_again: those that nearly equal an earlier one.
    examples: rows of the first few, each with the earlier row.
  """

  num_compared: int
  num_again: int
  examples: list[tuple[int, int]]


def repeated(keys: np.ndarray, num_largest: int = 5) -> Repeated:
  """What comes again among keys of any type."""
  distinct, first, counts = np.unique(
    keys, return_index=True, return_counts=True
  )
  order = np.argsort(-counts, kind="stable")[:num_largest]
  largest = [
    (int(counts[row]), int(first[row]), _second(keys, int(first[row])))
    for row in order
    if counts[row] > 1
  ]
  return Repeated(
    len(keys),
    len(keys) - len(distinct),
    largest,
    np.bincount(counts, minlength=2)[1:],
  )


@dataclass
class Comparison:
  """Compares texts as they come.

  Attributes:
    most: so many texts at most; memory grows by 0.8 KB with each.
  """

  most: int
  threshold: float = 0.8
  num_compared: int = 0
  _rows: list[np.ndarray] = field(default_factory=list)
  _earlier: list[np.ndarray] = field(default_factory=list)
  _finder: near_duplicates.Finder | None = None

  def add(self, texts: Sequence[str]) -> None:
    texts = texts[: self.most - self.num_compared]
    if not texts:
      return
    if self._finder is None:
      self._finder = near_duplicates.Finder(self.threshold)
    found = np.array(self._finder.add(texts), np.int64)
    again = np.flatnonzero(found >= 0)
    self._rows.append(again + self.num_compared)
    self._earlier.append(found[again])
    self.num_compared += len(texts)

  def result(self, keys: np.ndarray, num_examples: int = 5) -> NearlyRepeated:
    """Those of the texts, which have these keys, that equal no earlier one."""
    rows = np.concatenate([*self._rows, np.empty(0, np.int64)])
    earlier = np.concatenate([*self._earlier, np.empty(0, np.int64)])
    is_first = np.zeros(self.num_compared, bool)
    is_first[np.unique(keys[: self.num_compared], return_index=True)[1]] = True
    near = is_first[rows]
    return NearlyRepeated(
      self.num_compared,
      int(near.sum()),
      list(
        zip(
          rows[near][:num_examples].tolist(),
          earlier[near][:num_examples].tolist(),
          strict=True,
        )
      ),
    )


def can_compare() -> bool:
  """Whether the library that compares texts is installed."""
  return importlib.util.find_spec("rensa") is not None


def _second(keys: np.ndarray, first: int) -> int:
  return int(np.flatnonzero(keys == keys[first])[1])
