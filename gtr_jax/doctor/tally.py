"""What all chunks said, put together: numbers, not texts.

A pair takes 34 bytes of memory, and 16 more a further passage; where there are
ids, 8 more a text.  At the end, when texts are joined to classes, it is about
200 for a moment.  Near-duplicates take 0.8 KB for each text compared.
"""

import dataclasses
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from gtr_jax.data.pair import Pair
from gtr_jax.doctor import measurement, overlap
from gtr_jax.doctor.measurement import Chunk, Meeting, Seen
from gtr_jax.types import TowerName

MOST_TOKENS = 4096  # The last place of a histogram is for this and more.
_STRONGEST = 10  # Meetings that are kept of each index.


@dataclass
class Keys:
  """Keys of the texts of a tower, in parts."""

  texts: list[np.ndarray] = field(default_factory=list)
  tokens: list[np.ndarray] = field(default_factory=list)
  ids: list[np.ndarray | int] = field(default_factory=list)

  def add(self, facts: measurement.Texts) -> None:
    self.texts.append(facts.text_keys)
    self.tokens.append(facts.token_keys)
    # Most data has no ids: then their number is enough.
    self.ids.append(
      facts.id_keys if facts.id_keys.any() else len(facts.id_keys)
    )

  def all_texts(self) -> np.ndarray:
    return _joined(self.texts, np.uint64)

  def all_tokens(self) -> np.ndarray:
    return _joined(self.tokens, np.uint64)

  def all_ids(self) -> np.ndarray:
    if all(isinstance(part, int) for part in self.ids):
      return np.zeros(sum(map(len, self.texts)), np.uint8)  # None has one.
    parts = [
      np.zeros(part, np.uint64) if isinstance(part, int) else part
      for part in self.ids
    ]
    return _joined(parts, np.uint64)


@dataclass
class Contact:
  """What training has in common with one index.

  Attributes:
    equal, shared: bool, for each evaluation text: met as a whole; by a run.
    num_pairs: training pairs that meet any of its texts.
    meetings: the strongest; `pair` counts over all pairs.
  """

  index: overlap.Index
  equal: np.ndarray
  shared: np.ndarray
  num_pairs: int = 0
  meetings: list[Meeting] = field(default_factory=list)

  def add(self, met: measurement.Met, first_pair: int) -> None:
    self.equal[met.equal_owners] = True
    self.shared[met.run_owners] = True
    self.num_pairs += len(met.pairs)
    self.meetings += (
      dataclasses.replace(meeting, pair=meeting.pair + first_pair)
      for meeting in met.meetings
    )
    # Whole texts first, then by what they share; an owner once.
    self.meetings.sort(key=lambda one: (one.num_runs != 0, -one.num_runs))
    by_owner: dict[int, Meeting] = {}
    for meeting in self.meetings:
      by_owner.setdefault(meeting.owner, meeting)
    self.meetings = list(by_owner.values())[:_STRONGEST]


@dataclass
class Tally:
  """Everything that was counted so far.

  Attributes:
    histograms: texts of each tower by their number of tokens.
    num_tokens, num_lost: tokens of each tower, and those that are cut off.
    sample: pairs drawn at random, with their numbers; each as likely.
  """

  lengths: Mapping[TowerName, int]
  contacts: list[Contact]
  sample_size: int
  luck: random.Random
  num_pairs: int = 0
  queries: Keys = field(default_factory=Keys)
  passages: Keys = field(default_factory=Keys)
  num_positives: list[np.ndarray] = field(default_factory=list)
  num_negatives: list[np.ndarray] = field(default_factory=list)
  histograms: dict[TowerName, np.ndarray] = field(default_factory=dict)
  num_tokens: dict[TowerName, int] = field(default_factory=dict)
  num_lost: dict[TowerName, int] = field(default_factory=dict)
  seen: dict[str, Seen] = field(default_factory=dict)
  sample: list[tuple[int, Pair]] = field(default_factory=list)

  def add(self, pairs: Sequence[Pair], chunk: Chunk) -> None:
    first = self.num_pairs
    self.queries.add(chunk.queries)
    self.passages.add(chunk.passages)
    self.num_positives.append(_small(chunk.num_positives))
    self.num_negatives.append(_small(chunk.num_negatives))
    self._count_tokens("query", chunk.queries.tokens)
    self._count_tokens("passage", chunk.passages.tokens)
    for name, seen in chunk.seen.items():
      total = self.seen.setdefault(name, Seen())
      for sighting in seen.examples:
        total.add(dataclasses.replace(sighting, pair=sighting.pair + first))
      total.count += seen.count - len(seen.examples)
    for contact, met in zip(self.contacts, chunk.met, strict=True):
      contact.add(met, first)
    for number, pair in enumerate(pairs, start=first):
      self._draw(number, pair)
    self.num_pairs += len(pairs)

  def positives_of(self) -> np.ndarray:
    return _joined(self.num_positives, np.int64)

  def negatives_of(self) -> np.ndarray:
    return _joined(self.num_negatives, np.int64)

  def _count_tokens(self, tower: TowerName, tokens: np.ndarray) -> None:
    counts = np.bincount(
      np.minimum(tokens, MOST_TOKENS), minlength=MOST_TOKENS + 1
    )
    self.histograms[tower] = self.histograms.get(tower, 0) + counts
    self.num_tokens[tower] = self.num_tokens.get(tower, 0) + int(tokens.sum())
    lost = np.maximum(tokens - self.lengths[tower], 0).sum()
    self.num_lost[tower] = self.num_lost.get(tower, 0) + int(lost)

  def _draw(self, number: int, pair: Pair) -> None:
    """Reservoir sampling.

    Source: Vitter, 1985, algorithm R (https://doi.org/10.1145/3147.3165).
    """
    if len(self.sample) < self.sample_size:
      self.sample.append((number, pair))
      return
    place = int(self.luck.random() * (number + 1))
    if place < self.sample_size:
      self.sample[place] = (number, pair)


def _small(counts: np.ndarray) -> np.ndarray:
  fits = counts.max(initial=0) <= np.iinfo(np.uint8).max
  return counts.astype(np.uint8 if fits else np.uint32)


def _joined(parts: Sequence[np.ndarray], dtype: type) -> np.ndarray:
  return np.concatenate([*parts, np.empty(0, dtype)]).astype(dtype, copy=False)
