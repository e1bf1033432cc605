"""Batches of token pairs, each a pure function of (stores, seed, its number).

So a place in the data is one integer, also inside a mixture; resuming is
instant and exact, and the global batch is the same however many processes
share it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gtr_jax.data import permutation
from gtr_jax.data.global_batch import GlobalBatch
from gtr_jax.data.mixture import Mixture, Part
from gtr_jax.data.token_store import Spans, TokenStore
from gtr_jax.types import HostBatch, TowerName

# More known positives of a query than this are not worth their memory.
_MOST_POSITIVES = 16
_POSITIVE, _NEGATIVE = 1, 2  # So that the two choices are independent.


@dataclass(frozen=True, eq=False)
class _Choice:
  """Examples [b], and which texts stand for them.

  Attributes:
    queries: [b].
    passages: [b, K]; -1 is no negative.
    known: positives, [b, P], the one in use first; -1 is none.
  """

  examples: np.ndarray
  queries: np.ndarray
  passages: np.ndarray
  known: np.ndarray

  def part(self, rows: np.ndarray) -> "_Choice":
    return _Choice(
      self.examples[rows],
      self.queries[rows],
      self.passages[rows],
      self.known[rows],
    )


@dataclass(eq=False)
class PairBatches:
  """An endless stream of batches; satisfies `types.Batches`.

  Every epoch of a task has its own order; what does not fill an epoch's last
  batch begins the next epoch's first.  Of several positives an example uses one
  an epoch, in turn; of more negatives than fit it uses `num_negatives`, and all
  of them in turn over the epochs.

  Attributes:
    data: a store, or several of them mixed.
    batch_size: of the global batch.
    num_negatives: K - 1; where an example has fewer, the rest is zeros.
    query_length, passage_length: L; None takes the store's, less is refused.
    max_positives: P, how many known positives of a query the losses see; None
      takes as many as any example has, 16 at most.  The one in use comes first.
    process_index, process_count: which rows of the global batch are ours.
    shuffle: False gives the store's own order, every epoch.
    lengths: L of both towers.
  """

  data: TokenStore | Mixture
  batch_size: int
  num_negatives: int = 0
  query_length: int | None = None
  passage_length: int | None = None
  seed: int = 0
  max_positives: int | None = None
  process_index: int = 0
  process_count: int = 1
  shuffle: bool = True
  lengths: dict[TowerName, int] = field(init=False)
  _mixture: Mixture = field(init=False, repr=False)
  _num_known: int = field(init=False)
  _next: int = field(default=0, init=False)

  def __post_init__(self):
    if isinstance(self.data, Mixture):
      self._mixture = self.data
    else:
      self._mixture = Mixture([Part("", self.data)])
    _check(self, self._mixture)
    self.lengths = {
      "query": self.query_length or self.data.lengths["query"],
      "passage": self.passage_length or self.data.lengths["passage"],
    }
    self._num_known = self.max_positives or min(
      self.data.statistics.max_positives, _MOST_POSITIVES
    )

  def __next__(self) -> HostBatch:
    batch = self.batch_at(self._next)
    self._next += 1
    return batch

  def __iter__(self) -> "PairBatches":
    return self

  def position(self) -> dict[str, Any]:
    return {"batches": self._next, **self._identity()}

  def restore(self, position: Mapping[str, Any]) -> None:
    """Goes to a position of a stream over the same data.

    Raises:
      ValueError: the position is of other data, another seed, batch size or
        order, where "the same place" has no meaning.
    """
    for name, due in self._identity().items():
      came = position.get(name)
      if came != due:
        raise ValueError(
          f"the saved position in the data has {name} {came}, this run has"
          f" {due}: set it back, or start in another MODEL_DIR"
        )
    self._next = int(position["batches"])

  def batch_at(self, number: int) -> HostBatch:
    """This process's rows of batch `number`, counted from 0."""
    rows = self.batch_size // self.process_count
    choice = self._choose(number, self.process_index * rows, rows)
    tokens = self._mixture.token_rows
    return {
      "query_tokens": tokens(choice.queries, self.lengths["query"]),
      "passage_tokens": tokens(choice.passages, self.lengths["passage"]),
      **self._others(choice),
    }

  def global_batch_at(self, number: int) -> GlobalBatch:
    """Batch `number` of all processes, counted from 0."""
    choice = self._choose(number, 0, self.batch_size)
    return GlobalBatch(
      texts={
        "query": self._mixture.texts(choice.queries),
        "passage": self._mixture.texts(choice.passages.reshape(-1)),
      },
      others=lambda part: self._others(choice.part(part)),
    )

  def ids_at(self, number: int) -> list[int]:
    """Example ids of the whole global batch `number`."""
    first = number * self.batch_size
    _, examples = self._examples(first + np.arange(self.batch_size))
    return examples.tolist()

  def describe(self) -> str:
    return self._mixture.describe()

  def _identity(self) -> dict[str, Any]:
    return {
      "data": self.data.content,
      "seed": self.seed,
      "batch_size": self.batch_size,
      "shuffle": self.shuffle,
    }

  def _choose(self, number: int, first: int, count: int) -> "_Choice":
    """The texts of `count` queries of a batch, from its query `first` on."""
    start = number * self.batch_size + first
    epochs, examples = self._examples(start + np.arange(count))
    spans = self._mixture.spans(examples)
    known = self._positives(spans, epochs, examples)  # [b, P]
    negatives = self._negatives(spans, epochs, examples)  # [b, K - 1]
    passages = np.concatenate([known[:, :1], negatives], axis=1)  # [b, K]
    return _Choice(examples, spans.queries, passages, known)

  def _others(self, choice: "_Choice") -> HostBatch:
    """What a batch holds besides the tokens."""
    return {
      "query_keys": self._mixture.text_keys(choice.queries),
      "passage_keys": self._mixture.text_keys(choice.passages),
      "positive_keys": self._mixture.text_keys(choice.known),
      "example_ids": choice.examples.astype(np.int32),
    }

  def _examples(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Epoch and example at each place of the endless stream."""
    return self._mixture.order(places, self.batch_size, self.seed, self.shuffle)

  def _positives(
    self, spans: Spans, epochs: np.ndarray, examples: np.ndarray
  ) -> np.ndarray:
    """Texts of the known positives, [b, P], from the epoch's on; -1: none."""
    count = spans.num_positives[:, None]  # [b, 1]
    luck = permutation.mix(self.seed, _POSITIVE, examples) >> np.uint64(32)
    slots = np.arange(self._num_known)
    turns = (luck.astype(np.int64) + epochs)[:, None] + slots  # [b, P]
    texts = spans.queries[:, None] + 1 + turns % count
    return np.where(slots < count, texts, -1)

  def _negatives(
    self, spans: Spans, epochs: np.ndarray, examples: np.ndarray
  ) -> np.ndarray:
    """Texts of the epoch's negatives, [b, K - 1]; -1: none."""
    if not self.num_negatives:
      return np.empty((len(examples), 0), np.int64)
    first = spans.queries + 1 + spans.num_positives
    count = spans.num_negatives  # [b]
    # Each example has its own fixed random order of its negatives ...
    candidates = np.arange(max(int(count.max()), 1))
    ranks = permutation.mix(self.seed, _NEGATIVE, examples[:, None], candidates)
    ranks[candidates >= count[:, None]] = np.iinfo(np.uint64).max
    order = np.argsort(ranks, axis=1, kind="stable")
    # ... of which every epoch takes the next few.
    slots = np.arange(self.num_negatives)
    turns = (epochs * self.num_negatives)[:, None] + slots
    chosen = np.take_along_axis(
      order, turns % np.maximum(count, 1)[:, None], axis=1
    )
    return np.where(slots < count[:, None], first[:, None] + chosen, -1)


def _check(batches: PairBatches, mixture: Mixture) -> None:
  size = batches.batch_size
  if size < 1 or size % batches.process_count:
    raise ValueError(
      f"the global batch of {size} pairs does not divide among"
      f" {batches.process_count} processes: choose a multiple as BATCH_SIZE"
    )
  _check_sizes(mixture, size)
  if batches.num_negatives < 0:
    raise ValueError(
      f"{batches.num_negatives} negatives a query were asked for: set"
      " NUM_NEGATIVES to 0 or more"
    )
  if batches.num_negatives > 0 and not mixture.statistics.max_negatives:
    raise ValueError(
      f"{batches.num_negatives} negatives a query were asked for, the data has"
      " none: set the number of negatives to 0 or give data with negatives"
    )
  for tower in ("query", "passage"):
    asked = getattr(batches, f"{tower}_length")
    if asked is not None and asked < mixture.lengths[tower]:
      raise ValueError(
        f"{tower}_length is {asked}, the store holds texts of up to"
        f" {mixture.lengths[tower]} tokens: build a store for {asked}"
      )


def _check_sizes(mixture: Mixture, batch_size: int) -> None:
  """No example may be twice in a batch, its passage would be a negative."""
  if len(mixture.parts) == 1 and len(mixture) < batch_size:
    raise ValueError(
      f"the data has {len(mixture)} pairs, fewer than one batch of"
      f" {batch_size}: set BATCH_SIZE to {len(mixture)} or less"
    )
  for part, share in zip(mixture.parts, mixture.shares(), strict=True):
    due = batch_size if mixture.homogeneous else math.ceil(share * batch_size)
    if len(part.store) < due:
      raise ValueError(
        f"task {part.name!r} has {len(part.store)} pairs, {due} of it are due"
        f" in a batch of {batch_size}: lower its rate or BATCH_SIZE"
      )
