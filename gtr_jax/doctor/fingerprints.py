"""Texts as 64-bit numbers: which are equal, and which runs of words they share.

Ten million different texts share a number by chance once in 370,000 times.
"""

import hashlib
import itertools
import re
import unicodedata
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

# Words in a row that two texts share by copying, not by chance.
# Source: Brown et al., 2020, appendix C (https://arxiv.org/abs/2005.14165).
RUN_WORDS = 13

_EDGES = " .,;:!?\"'"
_WORD = re.compile(r"\w+")
_FACTOR = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Runs:
  """Runs of RUN_WORDS words, one row a run.

  Attributes:
    keys: uint64 [R].
    texts: int64 [R], the text in which it stands.
    starts: int64 [R], its first word there.
  """

  keys: np.ndarray
  texts: np.ndarray
  starts: np.ndarray


def plain(text: str) -> str:
  """The text without what makes no other text of it.

  That is case, forms of one character (NFKC), white space, and punctuation at
  both ends; a text of punctuation alone stays as it is.
  """
  if not text.isascii():
    text = unicodedata.normalize("NFKC", text)
  text = " ".join(text.casefold().split())
  return text.strip(_EDGES) or text


def keys(contents: Iterable[bytes]) -> np.ndarray:
  """uint64 [n], the same in every run and on every machine, never 0."""
  digests = [
    hashlib.blake2b(content, digest_size=8).digest() for content in contents
  ]
  return np.maximum(np.frombuffer(b"".join(digests), "<u8"), np.uint64(1))


def words(plain_text: str) -> list[str]:
  return _WORD.findall(plain_text)


def runs(plain_texts: Sequence[str]) -> Runs:
  """The runs of texts; one of fewer words has none."""
  by_text = [_WORD.findall(text) for text in plain_texts]
  counts = np.array([len(found) for found in by_text], np.int64)
  hashes = np.fromiter(
    map(zlib.crc32, map(str.encode, itertools.chain.from_iterable(by_text))),
    np.uint64,
    counts.sum(),
  )
  owners = np.repeat(np.arange(len(by_text)), counts)
  num_runs = max(len(hashes) - RUN_WORDS + 1, 0)
  rolled = np.zeros(num_runs, np.uint64)
  for place in range(RUN_WORDS):
    rolled = rolled * _FACTOR + hashes[place : place + num_runs]
  # A run that goes on in the next text is none.
  inside = owners[:num_runs] == owners[RUN_WORDS - 1 :]
  starts = np.arange(len(hashes)) - np.repeat(counts.cumsum() - counts, counts)
  return Runs(
    _mixed(rolled[inside]), owners[:num_runs][inside], starts[:num_runs][inside]
  )


def _mixed(values: np.ndarray) -> np.ndarray:
  """Lets every bit depend on every other, as who keeps 1 in 2^n needs it."""
  values = (values ^ (values >> np.uint64(31))) * _FACTOR
  return values ^ (values >> np.uint64(29))
