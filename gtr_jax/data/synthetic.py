"""Batches of random tokens, as long as real texts, that a model can learn.

For benchmarks and tests: no files, no text, no TensorFlow.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gtr_jax import packing
from gtr_jax.data.global_batch import GlobalBatch
from gtr_jax.types import HostBatch, TowerName

EOS_ID = 1
_FIRST_PIECE = 3  # After padding, EOS and unknown, as in T5's vocabulary.
# Of the logarithm of a length.  MS MARCO's lengths spread about as much.
_SPREAD = 0.5


@dataclass(eq=False)
class SyntheticBatches:
  """An endless stream of pairs; satisfies `types.Batches`.

  Lengths are log-normal.  A query repeats tokens of its positive, so there is
  something to learn; negatives have nothing to do with it.  A batch is a
  function of (seed, its number), the same for any number of processes.

  Attributes:
    batch_size: of the global batch.
    num_negatives: K - 1.
    mean_query_tokens, mean_passage_tokens: before cutting, EOS included.
  """

  batch_size: int
  num_negatives: int = 0
  query_length: int = 64
  passage_length: int = 256
  vocab_size: int = 32_128
  mean_query_tokens: float = 8
  mean_passage_tokens: float = 80
  seed: int = 0
  process_index: int = 0
  process_count: int = 1
  _next: int = field(default=0, init=False)

  @property
  def lengths(self) -> dict[TowerName, int]:
    return {"query": self.query_length, "passage": self.passage_length}

  def __post_init__(self):
    if self.batch_size % self.process_count:
      raise ValueError(
        f"the global batch of {self.batch_size} does not divide among"
        f" {self.process_count} processes: choose a multiple"
      )
    if self.vocab_size <= _FIRST_PIECE:
      raise ValueError(
        f"vocab_size is {self.vocab_size}: give more than {_FIRST_PIECE}"
      )

  def __next__(self) -> HostBatch:
    batch = self.batch_at(self._next)
    self._next += 1
    return batch

  def position(self) -> dict[str, Any]:
    return {"batches": self._next, "seed": self.seed}

  def restore(self, position: Mapping[str, Any]) -> None:
    if position.get("seed") != self.seed:
      raise ValueError(
        f"the saved position has seed {position.get('seed')}, this stream"
        f" {self.seed}: set it back"
      )
    self._next = int(position["batches"])

  def batch_at(self, number: int) -> HostBatch:
    """This process's rows of batch `number`, counted from 0."""
    rows = self.batch_size // self.process_count
    first = self.process_index * rows
    batch = self._whole_at(number)
    return {name: array[first : first + rows] for name, array in batch.items()}

  def ids_at(self, number: int) -> list[int]:
    """Example ids of the whole global batch `number`."""
    first = number * self.batch_size
    return list(range(first, first + self.batch_size))

  def describe(self) -> str:
    return "made-up examples"

  def global_batch_at(self, number: int) -> GlobalBatch:
    """Batch `number` of all processes, counted from 0."""
    others = self._whole_at(number)
    texts: dict[TowerName, packing.Texts] = {
      "query": _texts(others.pop("query_tokens")),
      "passage": _texts(others.pop("passage_tokens")),
    }
    return GlobalBatch(
      texts,
      lambda part: {name: array[part] for name, array in others.items()},
    )

  def _whole_at(self, number: int) -> HostBatch:
    rng = np.random.default_rng([self.seed, number])
    num_texts = self.batch_size * (1 + self.num_negatives)
    passages = rng.integers(
      _FIRST_PIECE,
      self.vocab_size,
      (self.batch_size, 1 + self.num_negatives, self.passage_length),
      dtype=np.int32,
    )
    passage_sizes = _sizes(
      rng, num_texts, self.mean_passage_tokens, self.passage_length
    ).reshape(passages.shape[:2])
    query_sizes = _sizes(
      rng, self.batch_size, self.mean_query_tokens, self.query_length
    )
    words = rng.integers(
      0,
      np.maximum(passage_sizes[:, :1] - 1, 1),
      (self.batch_size, self.query_length),
    )
    queries = np.take_along_axis(passages[:, 0], words, axis=1)
    examples = number * self.batch_size + np.arange(self.batch_size)
    passage_keys = _keys(examples[:, None] * (1 + self.num_negatives)
                         + np.arange(1 + self.num_negatives))  # fmt: skip
    return {
      "query_tokens": _cut(queries, query_sizes),
      "passage_tokens": _cut(passages, passage_sizes),
      "query_keys": _keys(examples),
      "passage_keys": passage_keys,
      "positive_keys": passage_keys[:, :1],
      "example_ids": examples.astype(np.int32),
    }


def _texts(tokens: np.ndarray) -> packing.Texts:
  """The texts of padded rows [..., L]."""
  rows = tokens.reshape(-1, tokens.shape[-1])
  starts = np.arange(len(rows)) * rows.shape[1]
  return packing.from_array(tokens.reshape(-1), starts, (rows > 0).sum(axis=1))


def _sizes(
  rng: np.random.Generator, count: int, mean: float, longest: int
) -> np.ndarray:
  """Tokens of each text with its EOS, 2 or more if they fit."""
  # The mean of a log-normal is exp(location + spread^2 / 2).
  location = np.log(mean) - _SPREAD**2 / 2
  sizes = np.rint(rng.lognormal(location, _SPREAD, count)).astype(np.int64)
  return np.clip(sizes, min(2, longest), longest)


def _cut(tokens: np.ndarray, sizes: np.ndarray) -> np.ndarray:
  """EOS as the last of each row's tokens, zeros behind it."""
  columns, last = np.arange(tokens.shape[-1]), sizes[..., None] - 1
  return np.where(
    columns < last, tokens, np.where(columns == last, EOS_ID, 0)
  ).astype(np.int32)


def _keys(numbers: np.ndarray) -> np.ndarray:
  """No id, and a text like no other, int32 [*numbers.shape, 2]."""
  return np.stack(
    [np.zeros_like(numbers), 1 + numbers % (2**31 - 1)], axis=-1
  ).astype(np.int32)
