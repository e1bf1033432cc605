"""Evaluation texts on disk, in the form in which training texts meet them.

For each text a key, and keys of its runs of words, sorted.  The arrays are
mapped from disk, so that processes share them and a corpus of any size does.
"""

import functools
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from gtr_jax.doctor import fingerprints

Texts = Iterable[tuple[str, str]]  # Id and text.

_TEXTS_AT_ONCE = 4096
# At 12 bytes a run; beyond it, one run in 2, 4, 8 … is kept.
_MOST_RUNS = 40_000_000


@dataclass(frozen=True)
class EvaluationTexts:
  """The queries, or the passages, of a collection.

  Attributes:
    read: reads ids and texts anew, always in the same order.
  """

  collection: str
  role: str
  read: Callable[[], Texts]


@dataclass(frozen=True)
class Index:
  """Keys of evaluation texts, in the files of a folder.

  Attributes:
    num_texts: evaluation texts.
    every: one run in so many is kept; 1 keeps all.
  """

  collection: str
  role: str
  folder: pathlib.Path
  num_texts: int
  every: int


@dataclass(frozen=True)
class Hits:
  """Training texts that meet evaluation texts, a row a meeting.

  Attributes:
    texts: int64 [H], place among the training texts.
    owners: int64 [H], place among the evaluation texts.
    num_runs: int64 [H], runs that both have; 0 where the whole text is equal.
    starts: int64 [H], the first word of the first run in the training text.
  """

  texts: np.ndarray
  owners: np.ndarray
  num_runs: np.ndarray
  starts: np.ndarray


def build(
  texts: EvaluationTexts, folder: pathlib.Path, most_runs: int = _MOST_RUNS
) -> Index:
  """Writes the files of an index.

  Args:
    folder: is made.
    most_runs: held in memory while it is built.
  """
  folder.mkdir(parents=True)
  text_keys, run_keys, run_owners = [], [], []
  num_texts, num_runs, every = 0, 0, 1
  for batch in _batched(text for _, text in texts.read()):
    plain = [fingerprints.plain(text) for text in batch]
    text_keys.append(fingerprints.keys(text.encode() for text in plain))
    found = fingerprints.runs(plain)
    kept = _is_kept(found.keys, every)
    run_keys.append(found.keys[kept])
    run_owners.append((found.texts[kept] + num_texts).astype(np.uint32))
    num_texts += len(batch)
    num_runs += int(kept.sum())
    while num_runs > most_runs:
      every *= 2
      chosen = [_is_kept(keys, every) for keys in run_keys]
      run_keys = _selected(run_keys, chosen)
      run_owners = _selected(run_owners, chosen)
      num_runs = sum(map(len, run_keys))
  _write(folder, "text", text_keys, [np.arange(num_texts, dtype=np.uint32)])
  _write(folder, "run", run_keys, run_owners)
  return Index(texts.collection, texts.role, folder, num_texts, every)


def equal_texts(index: Index, keys: np.ndarray) -> Hits:
  """Where whole texts are equal; of equal evaluation texts the first counts."""
  places, owners = _look_up(index, "text", keys)
  zeros = np.zeros(len(places), np.int64)
  return Hits(places, owners, zeros, zeros)


def shared_runs(index: Index, runs: fingerprints.Runs) -> Hits:
  """Where a training text has runs of an evaluation text."""
  kept = np.flatnonzero(_is_kept(runs.keys, index.every))
  places, owners = _look_up(index, "run", runs.keys[kept])
  places = kept[places]
  pairs = np.stack([runs.texts[places], owners], axis=1)
  distinct, first, counts = np.unique(
    pairs, axis=0, return_index=True, return_counts=True
  )
  return Hits(
    distinct[:, 0], distinct[:, 1], counts, runs.starts[places[first]]
  )


def ids_of(texts: EvaluationTexts, owners: Iterable[int]) -> dict[int, str]:
  """The ids of some evaluation texts, by reading them once more."""
  wanted = set(owners)
  found = {}
  if wanted:
    for place, (identifier, _) in enumerate(texts.read()):
      if place in wanted:
        found[place] = identifier
  return found


def _batched(texts: Iterable[str]) -> Iterator[list[str]]:
  batch: list[str] = []
  for text in texts:
    batch.append(text)
    if len(batch) == _TEXTS_AT_ONCE:
      yield batch
      batch = []
  if batch:
    yield batch


def _is_kept(keys: np.ndarray, every: int) -> np.ndarray:
  return keys & np.uint64(every - 1) == 0


def _selected(
  arrays: Sequence[np.ndarray], chosen: Sequence[np.ndarray]
) -> list[np.ndarray]:
  return [array[kept] for array, kept in zip(arrays, chosen, strict=True)]


def _write(
  folder: pathlib.Path,
  name: str,
  keys: Sequence[np.ndarray],
  owners: Sequence[np.ndarray],
) -> None:
  """Distinct keys, ascending, each with its first owner."""
  together = np.concatenate([*keys, np.empty(0, np.uint64)])
  distinct, first = np.unique(together, return_index=True)
  np.save(folder / f"{name}_keys.npy", distinct)
  all_owners = np.concatenate([*owners, np.empty(0, np.uint32)])
  np.save(folder / f"{name}_owners.npy", all_owners[first])


def _look_up(
  index: Index, name: str, keys: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """Places of the keys that the index has, and their owners."""
  known = _opened(index.folder / f"{name}_keys.npy")
  if not len(known):
    return np.empty(0, np.int64), np.empty(0, np.int64)
  # Keys in order touch the pages of the file in order.
  distinct, inverse = np.unique(keys, return_inverse=True)
  found = np.minimum(np.searchsorted(known, distinct), len(known) - 1)
  is_known = known[found] == distinct
  places = np.flatnonzero(is_known[inverse])
  owners = _opened(index.folder / f"{name}_owners.npy")
  return places, owners[found[inverse[places]]].astype(np.int64)


@functools.lru_cache(maxsize=64)
def _opened(path: pathlib.Path) -> np.ndarray:
  return np.load(path, mmap_mode="r")
