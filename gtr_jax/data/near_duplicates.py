"""Texts that nearly equal an earlier one: MinHash and banded hashing.

Two texts are as similar as their sets of shingles: the share of runs of five
characters that both have, among all that one of them has (Jaccard).  Case,
punctuation and white space count for nothing.
"""

import re
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Bool, Int64, UInt8, UInt32, UInt64

from gtr_jax.data import first_seen
from gtr_jax.files import optional

SHINGLE = 5  # Characters.
NUM_HASHES = 128
MAX_CHARACTERS = 1 << 18  # What follows in a text is not compared.

_MIN_RECALL = 0.9
_SEED = 1
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_BATCH_TEXTS = 1024
_BATCH_CHARACTERS = 1 << 19
_APART = re.compile(r"[\W_]+")


class Sketch:
  """What is kept of a text: a signature, and keys of the buckets it is in.

  A text is a near-duplicate of the first text in one of its buckets if their
  signatures are similar.
  """

  def __init__(self, threshold: float) -> None:
    """See `Finder`."""
    if not 0.5 <= threshold <= 1:
      raise ValueError(
        f"the threshold of near-duplicates is {threshold}: give 0.5 to 1"
      )
    self._min_hash = optional.load("rensa", "data").RMinHash
    self._threshold = threshold
    self._rows = _rows(threshold)

  def __call__(
    self, texts: Sequence[str]
  ) -> tuple[UInt8[np.ndarray, "n hashes"], UInt64[np.ndarray, "n bands"]]:
    """Signatures and keys of a few texts."""
    return self.of_folded([fold(text) for text in texts])

  def of_folded(
    self, texts: Sequence[str]
  ) -> tuple[UInt8[np.ndarray, "n hashes"], UInt64[np.ndarray, "n bands"]]:
    hashes, offsets = _shingles(texts)
    matrix = self._min_hash.digest_matrix_from_flat_token_hashes(
      hashes, offsets, NUM_HASHES, _SEED
    )
    values = np.array(matrix.to_rows(), np.uint32)  # [n, hashes]
    return values.astype(np.uint8), _keys(values, self._rows)

  def similar(
    self,
    one: UInt8[np.ndarray, "n hashes"],
    other: UInt8[np.ndarray, "n hashes"],
  ) -> Bool[np.ndarray, "n"]:
    """Whether pairs of texts are similar enough, by their signatures."""
    chance = 1 / 256  # Of equal 8 bits in unequal values.
    similarity = ((one == other).mean(-1) - chance) / (1 - chance)
    return similarity >= self._threshold - 1e-9


class Finder:
  """Tells of each text which earlier text it nearly equals.

  The similarity is estimated from 128 hash values with a standard error of at
  most 0.044.  A text is compared with the first text of each bucket that it
  falls into, so the time a text takes does not grow with the number of texts,
  and some near-duplicates are missed: 5 % at 0.8, 0.01 % at 0.9, none that are
  equal.  The result is the same however the texts are dealt to calls.  About
  0.8 KB of memory a text; the texts are not kept.

  Source: Broder, 1997 (https://doi.org/10.1109/SEQUEN.1997.666900) for MinHash;
  Li & König, 2010 (https://arxiv.org/abs/0910.3349) for keeping 8 bits of each
  value.
  """

  def __init__(self, threshold: float = 0.8) -> None:
    """
    Args:
      threshold: the least similarity of a near-duplicate, 0.5 to 1.

    Raises:
      ValueError: another threshold; rensa is not installed.
    """
    self._sketch = Sketch(threshold)
    self._buckets = first_seen.FirstSeen()
    self._signatures = np.zeros((_BATCH_TEXTS, NUM_HASHES), np.uint8)
    self._num_texts = 0

  def add(self, texts: Sequence[str]) -> list[int]:
    """For each text the number of an earlier one that it nearly equals, or -1.

    Numbers count from 0 over all calls.  Of several the first counts; it may
    be a near-duplicate of another itself.
    """
    return [
      number
      for batch in _batches(texts)
      for number in self._add(batch).tolist()
    ]

  def _add(self, texts: Sequence[str]) -> Int64[np.ndarray, "n"]:
    """`texts` are folded."""
    numbers = np.arange(self._num_texts, self._num_texts + len(texts))
    signatures, keys = self._sketch.of_folded(texts)
    self._keep(signatures)
    first = self._buckets.add(keys.ravel(), np.repeat(numbers, keys.shape[1]))
    return self._similar(numbers, first.reshape(keys.shape))

  def _keep(self, signatures: UInt8[np.ndarray, "n hashes"]) -> None:
    start, end = self._num_texts, self._num_texts + len(signatures)
    if end > len(self._signatures):
      grown = np.zeros((max(end, end * 3 // 2), NUM_HASHES), np.uint8)
      grown[:start] = self._signatures[:start]
      self._signatures = grown
    self._signatures[start:end] = signatures
    self._num_texts = end

  def _similar(
    self, numbers: Int64[np.ndarray, "n"], first: Int64[np.ndarray, "n bands"]
  ) -> Int64[np.ndarray, "n"]:
    """The smallest of the candidates that are similar enough, or -1."""
    row, band = np.nonzero(first < numbers[:, None])
    others = first[row, band]
    pairs = np.unique(np.stack([row, others], 1), axis=0)
    row, others = pairs[:, 0], pairs[:, 1]
    enough = self._sketch.similar(
      self._signatures[numbers[row]], self._signatures[others]
    )
    nobody = np.iinfo(np.int64).max
    found = np.full(len(numbers), nobody)
    np.minimum.at(found, row[enough], others[enough])
    return np.where(found == nobody, -1, found)


def fold(text: str) -> str:
  """Letters and digits in lower case, runs of anything else as one space."""
  folded = _APART.sub(" ", text[:MAX_CHARACTERS].casefold()).strip()
  return folded or text[:MAX_CHARACTERS].strip()  # "?!" is not "...".


def _rows(threshold: float) -> int:
  """Values a band: as many as find most near-duplicates at the threshold."""
  for rows in range(16, 1, -1):
    if 1 - (1 - threshold**rows) ** (NUM_HASHES // rows) >= _MIN_RECALL:
      return rows
  return 1


def _batches(texts: Sequence[str]) -> Iterator[list[str]]:
  """The folded texts, a bounded number of characters at a time."""
  batch, num_characters = [], 0
  for text in texts:
    folded = fold(text)
    batch.append(folded)
    num_characters += len(folded)
    if len(batch) == _BATCH_TEXTS or num_characters >= _BATCH_CHARACTERS:
      yield batch
      batch, num_characters = [], 0
  if batch:
    yield batch


def _shingles(
  texts: Sequence[str],
) -> tuple[UInt64[np.ndarray, "shingles"], UInt64[np.ndarray, "n+1"]]:
  """Hashes of all runs of characters, and where each text's begin and end."""
  padded = [text.ljust(SHINGLE) for text in texts]
  lengths = np.fromiter(map(len, padded), np.int64, len(padded))
  encoded = "".join(padded).encode("utf-32-le", "surrogatepass")
  codes = np.frombuffer(encoded, np.uint32).astype(np.uint64)
  num_starts = len(codes) - SHINGLE + 1
  hashes = codes[:num_starts].copy()
  for place in range(1, SHINGLE):
    hashes *= _MULTIPLIER
    hashes += codes[place : place + num_starts]
  inside = np.ones(len(codes), bool)
  for back in range(1, SHINGLE):
    inside[np.cumsum(lengths) - back] = False
  offsets = np.concatenate([[0], np.cumsum(lengths - SHINGLE + 1)])
  return _mixed(hashes[inside[:num_starts]]), offsets.astype(np.uint64)


def _keys(
  values: UInt32[np.ndarray, "n hashes"], rows: int
) -> UInt64[np.ndarray, "n bands"]:
  """A hash of each band of values; bands do not share buckets."""
  bands = NUM_HASHES // rows
  cut = values[:, : bands * rows].reshape(len(values), bands, rows)
  keys = np.tile(np.arange(bands, dtype=np.uint64), (len(values), 1))
  for row in range(rows):
    keys = _mixed(keys * _MULTIPLIER + cut[:, :, row])
  return keys


def _mixed(hashes: UInt64[np.ndarray, "..."]) -> UInt64[np.ndarray, "..."]:
  """Spreads the information of low bits; the shifts lose none."""
  hashes = hashes ^ (hashes >> np.uint64(29))
  hashes *= _MULTIPLIER
  return hashes ^ (hashes >> np.uint64(32))
