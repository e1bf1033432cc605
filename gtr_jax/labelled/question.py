"""What a reader of labelled data yields, before negatives are chosen."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gtr_jax.data.pair import Pair


class Passage(NamedTuple):
  """A passage, or the id of one whose text is looked up when it is chosen.

  Attributes:
    place: `file:line`, empty where there is none.
  """

  id: str | None
  text: str | None
  title: str = ""
  score: float | None = None
  place: str = ""


# Passages by their ids; None where an id is unknown.
LookUp = Callable[[Sequence[str]], list[Passage | None]]


@dataclass(frozen=True)
class Question:
  """A query with passages that answer it and candidates that may not.

  Attributes:
    place: `file:line`.
    known_ids: of passages that answer it too, and are no negatives.
    look_up: gives the passages their texts, which is done for as many as are
      needed; None where they have them.
  """

  text: str
  positives: Sequence[Passage]
  negatives: Sequence[Passage] = ()
  id: str | None = None
  place: str = ""
  known_ids: Sequence[str] = ()
  look_up: LookUp | None = None


@dataclass(frozen=True)
class LabelledPair:
  """A pair, and the scores of its passages where they are given.

  Attributes:
    positive_scores, negative_scores: None, or one a passage; None in it where
      there is none.
  """

  pair: Pair
  positive_scores: tuple[float | None, ...] | None = None
  negative_scores: tuple[float | None, ...] | None = None


def share(key: str, seed: int) -> float:
  """A number in [0, 1) by the hash of a query's id.

  Those below 0.01 are among those below 0.1; other queries change nothing.
  """
  content = f"{seed}\t{key}".encode()
  digest = hashlib.blake2b(content, digest_size=7).digest()
  return int.from_bytes(digest, "little") / 2**56
