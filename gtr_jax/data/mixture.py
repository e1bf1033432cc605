"""Several token stores, read as one: examples and texts numbered through.

Each task keeps a store of its own, so that a mixture may change without
tokenising anything again.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from gtr_jax import packing
from gtr_jax.data import permutation, token_store
from gtr_jax.data.schedule import Schedule
from gtr_jax.types import TowerName

# So that the order of an epoch and the numbers of a task are independent.
_ORDER = 3
_MAX_EXAMPLES = 2**31 - 1  # An example's number is an int32.


@dataclass(frozen=True)
class Part:
  """A task of a mixture.

  Attributes:
    name: for people.
    rate: its share of a batch, against the other tasks'.
  """

  name: str
  store: token_store.TokenStore
  rate: float = 1.0


@dataclass(frozen=True, eq=False)
class Mixture:
  """Tasks with rates; what it has in common with a store has the same name.

  Ids mean something only within a task, so tasks do not share them here: the
  id "7" of two tasks is two ids.  Equal texts are equal texts.

  Attributes:
    parts: at least one; with one it is that store.
    homogeneous: every batch is of one task; else every batch of all.
    content: hash of the stores, their rates and how they are mixed.

  Raises:
    ValueError: the tasks cannot be read together, the message says why.
  """

  parts: Sequence[Part]
  homogeneous: bool = False
  schedule: Schedule = field(init=False, repr=False)
  content: str = field(init=False)
  lengths: Mapping[TowerName, int] = field(init=False)
  statistics: token_store.Statistics = field(init=False)
  _first_example: np.ndarray = field(init=False, repr=False)  # [parts + 1]
  _first_text: np.ndarray = field(init=False, repr=False)  # [parts + 1]

  def __post_init__(self):
    stores = [part.store for part in self.parts]
    _check(self.parts)
    texts = [len(store) + store.statistics.num_passages for store in stores]
    derived = {
      "schedule": Schedule([part.rate for part in self.parts]),
      "lengths": {
        tower: max(store.lengths[tower] for store in stores)
        for tower in stores[0].lengths
      },
      "statistics": _sum([store.statistics for store in stores]),
      "_first_example": np.cumsum([0, *map(len, stores)]),
      "_first_text": np.cumsum([0, *texts]),
    }
    for name, value in derived.items():
      object.__setattr__(self, name, value)
    object.__setattr__(self, "content", self._content())

  def __len__(self) -> int:
    return int(self._first_example[-1])

  def order(
    self,
    places: np.ndarray,
    batch_size: int,
    seed: int,
    shuffle: bool,
  ) -> tuple[np.ndarray, np.ndarray]:
    """Epoch and example at each place of the endless stream of examples.

    Every task goes through its own epochs, each in an order of its own.

    Args:
      batch_size: places that stand in one batch.
      shuffle: False gives the stores' own order, every epoch.
    """
    if self.homogeneous:
      batches, offsets = np.divmod(places, batch_size)
      tasks, turns = self.schedule.at(batches)
      turns = turns * batch_size + offsets
    else:
      tasks, turns = self.schedule.at(places)
    sizes = np.diff(self._first_example)[tasks]
    epochs, examples = np.divmod(turns, sizes)
    if shuffle:
      for task in np.unique(tasks):
        for epoch in np.unique(epochs[tasks == task]):
          here = (tasks == task) & (epochs == epoch)
          examples[here] = permutation.permute(
            examples[here], int(sizes[here][0]), *self._key(seed, task, epoch)
          )
    return epochs, examples + self._first_example[tasks]

  def spans(self, examples: np.ndarray) -> token_store.Spans:
    """See `TokenStore.spans`."""
    tasks = self._task_of(examples, self._first_example)
    spans = token_store.Spans(*np.empty((3, len(examples)), np.int64))
    for task, here in _groups(tasks):
      own = self.parts[task].store.spans(
        examples[here] - self._first_example[task]
      )
      spans.queries[here] = own.queries + self._first_text[task]
      spans.num_positives[here] = own.num_positives
      spans.num_negatives[here] = own.num_negatives
    return spans

  def token_rows(self, texts: np.ndarray, length: int) -> np.ndarray:
    """See `TokenStore.token_rows`."""
    flat = texts.reshape(-1)
    rows = np.zeros((flat.size, length), np.int32)
    for task, here in self._texts_by_task(flat):
      store = self.parts[task].store
      rows[here] = store.token_rows(flat[here] - self._first_text[task], length)
    return rows.reshape(*texts.shape, length)

  def texts(self, texts: np.ndarray) -> packing.Texts:
    """See `TokenStore.texts`."""
    tasks, starts, sizes = np.zeros((3, len(texts)), np.int64)
    for task, here in self._texts_by_task(texts):
      own = self.parts[task].store.texts(texts[here] - self._first_text[task])
      tasks[here], starts[here], sizes[here] = task, own.starts, own.sizes
    arrays = tuple(part.store.tokens for part in self.parts)
    return packing.Texts(arrays, tasks, starts, sizes)

  def text_keys(self, texts: np.ndarray) -> np.ndarray:
    """See `TokenStore.text_keys`."""
    flat = texts.reshape(-1)
    keys = np.zeros((flat.size, 2), np.int32)
    for task, here in self._texts_by_task(flat):
      store = self.parts[task].store
      keys[here] = store.text_keys(flat[here] - self._first_text[task])
      keys[here, 0] = self._own_ids(keys[here, 0], task)
    return keys.reshape(*texts.shape, 2)

  def shares(self) -> np.ndarray:
    """Of each task, among all places of the stream; they add up to 1."""
    return self.schedule.counts / self.schedule.counts.sum()

  def describe(self) -> str:
    """For people: the tasks, their shares and sizes."""
    if len(self.parts) == 1:
      return f"{len(self):,} examples"
    tasks = ", ".join(
      f"{share:.2%} {part.name} ({len(part.store):,})"
      for part, share in zip(self.parts, self.shares(), strict=True)
    )
    kind = "batches of one task" if self.homogeneous else "mixed batches"
    return f"{len(self):,} examples in {kind}: {tasks}"

  def _key(self, seed: int, task: int, epoch: int) -> tuple[int, ...]:
    if len(self.parts) == 1:
      return seed, int(epoch)
    return seed, _ORDER, int(task), int(epoch)

  def _own_ids(self, ids: np.ndarray, task: int) -> np.ndarray:
    """Hashes of ids [n], of which those of other tasks are others; 0 stays."""
    if len(self.parts) == 1:
      return ids
    salted = permutation.mix(task, ids.view(np.uint32)).astype(np.uint32)
    salted = np.maximum(salted, 1).view(np.int32)  # 0 is no id.
    return np.where(ids == 0, np.int32(0), salted)

  def _task_of(self, numbers: np.ndarray, firsts: np.ndarray) -> np.ndarray:
    return np.searchsorted(firsts, numbers, side="right") - 1

  def _texts_by_task(
    self, texts: np.ndarray
  ) -> Iterable[tuple[int, np.ndarray]]:
    """Tasks, and which of the texts are of each; -1, no text, is of none."""
    groups = _groups(self._task_of(texts, self._first_text))
    return ((task, here) for task, here in groups if task >= 0)

  def _content(self) -> str:
    if len(self.parts) == 1:
      return self.parts[0].store.content
    facts = {
      "stores": [part.store.content for part in self.parts],
      "places": self.schedule.counts.tolist(),
      "homogeneous": self.homogeneous,
    }
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _groups(tasks: np.ndarray) -> list[tuple[int, np.ndarray]]:
  return [
    (int(task), np.flatnonzero(tasks == task)) for task in np.unique(tasks)
  ]


def _sum(parts: Sequence[token_store.Statistics]) -> token_store.Statistics:
  def total(name: str, combine=sum):
    return combine(getattr(part, name) for part in parts)

  def total_by_tower(name: str) -> dict[TowerName, int]:
    counts = [getattr(part, name) for part in parts]
    return {tower: sum(count[tower] for count in counts) for tower in counts[0]}

  return token_store.Statistics(
    num_examples=total("num_examples"),
    num_passages=total("num_passages"),
    num_tokens=total_by_tower("num_tokens"),
    num_cut=total_by_tower("num_cut"),
    max_positives=total("max_positives", max),
    max_negatives=total("max_negatives", max),
  )


def _check(parts: Sequence[Part]) -> None:
  if not parts:
    raise ValueError("a mixture of no task: name at least one")
  names: dict[str, str] = {}
  for part in parts:
    content = part.store.content
    if content in names:
      raise ValueError(
        f"the tasks {names[content]!r} and {part.name!r} hold the same"
        " examples: keep one and give it both rates"
      )
    names[content] = part.name
  num_examples = sum(len(part.store) for part in parts)
  if num_examples > _MAX_EXAMPLES:
    raise ValueError(
      f"the tasks have {num_examples} examples together, {_MAX_EXAMPLES} can be"
      " numbered: train on fewer at once"
    )
