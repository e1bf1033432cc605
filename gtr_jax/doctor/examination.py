"""Looks at all pairs once, and says what was found."""

import importlib.util
import itertools
import pathlib
import random
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gtr_jax.data import language, vocabulary
from gtr_jax.data.pair import Pair
from gtr_jax.doctor import (
  false_negatives,
  measurement,
  overlap,
  relations,
  repetition,
  workers,
)
from gtr_jax.doctor.measurement import Meeting, Seen
from gtr_jax.doctor.tally import Contact, Tally
from gtr_jax.types import TowerName

Placed = Iterator[tuple[str, int, Pair]]
Progress = Callable[[int], None]

_PAIRS_AT_ONCE = 2048
_BATCH_SIZES = (128, 512, 2048, 8192, 32_768)
_LANGUAGE_SAMPLE = 5000  # Pairs.


@dataclass(frozen=True)
class Settings:
  """How to look.

  Attributes:
    lengths: tokens of a text that the model reads.
    batch_size: pairs of a batch.
    seed: of the sample.
    most_compared: texts of a tower among which near-duplicates are sought.
    num_processes: see `workers.measured`.
  """

  lengths: Mapping[TowerName, int]
  batch_size: int
  seed: int = 0
  most_compared: int = 2_000_000
  num_processes: int | None = None


@dataclass(frozen=True)
class Length:
  """The lengths of the texts of a tower, in tokens.

  Attributes:
    histogram: texts by number of tokens; the last place is for more, too.
    limit: tokens that are read.
    num_truncated: texts with more.
    lost_rate: share of all tokens that is not read.
  """

  histogram: np.ndarray
  limit: int
  num_truncated: int
  lost_rate: float

  @property
  def num_texts(self) -> int:
    return int(self.histogram.sum())

  def quantile(self, share: float) -> int:
    """The least number of tokens that this share of the texts does not pass."""
    return int(np.searchsorted(self.histogram.cumsum(), share * self.num_texts))


@dataclass(frozen=True)
class Shared:
  """What training has in common with the queries, or passages, of a collection.

  Attributes:
    num_texts: evaluation texts.
    num_equal, num_sharing: of them, those that training has as they are, and
      those of which it has a run of words.
    num_either: those of one kind or the other.
    num_pairs: training pairs that meet one.
    every: one run in so many was compared.
    meetings: the strongest, each with the evaluation text's id.
  """

  collection: str
  role: str
  num_texts: int
  num_equal: int
  num_sharing: int
  num_either: int
  num_pairs: int
  every: int
  meetings: list[tuple[str, Meeting]]


@dataclass(frozen=True)
class Examination:
  """All that was found.

  Attributes:
    lengths: by tower.
    again: repeated "pairs", "queries" and "passages" (positives).
    nearly: nearly repeated "queries" and "passages"; empty if not sought.
    expectation: of false negatives in a batch; `other_sizes` of other batches.
    positive_rows: [P], the pair of each positive.
    languages: texts of the sample by language, by tower; None if not sought.
    sample: pairs drawn at random, with their numbers.
  """

  num_pairs: int
  num_positives: int
  num_negatives: int
  batch_size: int
  lengths: Mapping[TowerName, Length]
  seen: Mapping[str, Seen]
  again: Mapping[str, repetition.Repeated]
  nearly: Mapping[str, repetition.NearlyRepeated]
  positive_rows: np.ndarray
  contradictions: relations.Contradictions
  id_conflicts: relations.IdConflicts
  expectation: false_negatives.Expectation
  other_sizes: Sequence[false_negatives.Expectation]
  worst_query_pairs: list[tuple[int, float]]
  languages: Mapping[TowerName, Counter[str]] | None
  shared: Sequence[Shared]
  sample: Sequence[tuple[int, Pair]]


def examine(
  pairs: Placed,
  tokenizer: vocabulary.Tokenizer,
  settings: Settings,
  evaluations: Sequence[overlap.EvaluationTexts] = (),
  progress: Progress | None = None,
) -> Examination:
  """Reads the pairs once; memory holds numbers of each, see `tally`.

  Args:
    evaluations: read once to be compared, and again where something is found.
    progress: takes how many pairs were looked at since the last call.
  """
  with tempfile.TemporaryDirectory(prefix="gtr_doctor_") as name:
    folder = pathlib.Path(name)
    indexes = [
      overlap.build(texts, folder / str(number))
      for number, texts in enumerate(evaluations)
    ]
    measure = measurement.Measurement(tokenizer, settings.lengths, indexes)
    tally = Tally(
      settings.lengths,
      [_contact(index) for index in indexes],
      _LANGUAGE_SAMPLE,
      random.Random(settings.seed),
    )
    most = settings.most_compared if repetition.can_compare() else 0
    queries, passages = (repetition.Comparison(most) for _ in range(2))
    chunks = _chunks(pair for _, _, pair in pairs)
    for chunk, measured in workers.measured(
      measure, chunks, folder, settings.num_processes
    ):
      tally.add(chunk, measured)
      queries.add([pair.query for pair in chunk])
      passages.add([text for pair in chunk for text in pair.positives])
      if progress is not None:
        progress(len(chunk))
  return _examination(
    tally, settings, {"queries": queries, "passages": passages}, evaluations
  )


def can_tell_languages() -> bool:
  """Whether the library that knows languages is installed."""
  return importlib.util.find_spec("pycld2") is not None


def _examination(
  tally: Tally,
  settings: Settings,
  comparisons: Mapping[str, repetition.Comparison],
  evaluations: Sequence[overlap.EvaluationTexts],
) -> Examination:
  texts = relations.of(tally)
  keys = {
    "queries": tally.queries.all_texts(),
    "passages": tally.passages.all_texts()[texts.is_positive],
  }
  rows = texts.truth.examples
  together = np.stack([keys["queries"][rows], keys["passages"]], axis=1)
  counted = false_negatives.count(texts.truth, texts.masks)
  expectation = false_negatives.expected(counted, settings.batch_size)
  return Examination(
    num_pairs=tally.num_pairs,
    num_positives=len(rows),
    num_negatives=len(texts.examples) - len(rows),
    batch_size=settings.batch_size,
    lengths={tower: _length(tally, tower) for tower in ("query", "passage")},
    seen=tally.seen,
    again={
      "pairs": repetition.repeated(_combined(together)),
      **{name: repetition.repeated(values) for name, values in keys.items()},
    },
    nearly={
      name: comparison.result(keys[name])
      for name, comparison in comparisons.items()
      if comparison.num_compared
    },
    positive_rows=rows,
    contradictions=relations.contradictions(texts),
    id_conflicts=relations.id_conflicts(tally, texts),
    expectation=expectation,
    other_sizes=[
      false_negatives.expected(counted, size)
      for size in _BATCH_SIZES
      if size <= tally.num_pairs
    ],
    worst_query_pairs=[
      (int(np.argmax(texts.truth.queries == query)), others)
      for query, others in expectation.worst_queries
    ],
    languages=_languages([pair for _, pair in tally.sample]),
    shared=[
      _shared(contact, texts)
      for contact, texts in zip(tally.contacts, evaluations, strict=True)
    ],
    sample=_shuffled(tally.sample, settings.seed),
  )


def _chunks(pairs: Iterable[Pair]) -> Iterator[list[Pair]]:
  pairs = iter(pairs)
  while chunk := list(itertools.islice(pairs, _PAIRS_AT_ONCE)):
    yield chunk


def _contact(index: overlap.Index) -> Contact:
  return Contact(
    index, np.zeros(index.num_texts, bool), np.zeros(index.num_texts, bool)
  )


def _length(tally: Tally, tower: TowerName) -> Length:
  seen = tally.seen.get(f"truncated_{tower}", Seen())
  return Length(
    tally.histograms[tower],
    tally.lengths[tower],
    seen.count,
    tally.num_lost[tower] / max(tally.num_tokens[tower], 1),
  )


def _combined(columns: np.ndarray) -> np.ndarray:
  """Two columns of keys as one."""
  return columns[:, 0] * np.uint64(0x9E3779B97F4A7C15) + columns[:, 1]


def _shared(contact: Contact, texts: overlap.EvaluationTexts) -> Shared:
  owners = [meeting.owner for meeting in contact.meetings]
  ids = overlap.ids_of(texts, owners)
  return Shared(
    collection=texts.collection,
    role=texts.role,
    num_texts=contact.index.num_texts,
    num_equal=int(contact.equal.sum()),
    num_sharing=int(contact.shared.sum()),
    num_either=int((contact.equal | contact.shared).sum()),
    num_pairs=contact.num_pairs,
    every=contact.index.every,
    meetings=[(ids[meeting.owner], meeting) for meeting in contact.meetings],
  )


def _languages(
  sample: Sequence[Pair],
) -> Mapping[TowerName, Counter[str]] | None:
  if not can_tell_languages():
    return None
  return {
    "query": Counter(language.detect(pair.query for pair in sample)),
    "passage": Counter(language.detect(pair.positives[0] for pair in sample)),
  }


def _shuffled(
  sample: Sequence[tuple[int, Pair]], seed: int
) -> list[tuple[int, Pair]]:
  # A reservoir keeps its first rows where they are.
  return random.Random(seed).sample(list(sample), len(sample))
