"""How near vectors are to those that are due, and which texts are worst."""

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from gtr_jax.types import TowerName

# Texts that are named when vectors differ, and in parity.json.
_NUM_WORST = 3
_DEPTH = 10
Vectors = Mapping[TowerName, np.ndarray]


class Tolerance(NamedTuple):
  """How far an export may be from its model.

  Attributes:
    difference: of one number in a unit vector, at most.
    cosine: of an embedding with the model's, at least.
    top10_overlap: of the ten nearest passages, at least; where two passages
      are as near up to `difference`, either may be among the ten.
  """

  difference: float
  cosine: float
  top10_overlap: float


# Float32 differs by about 1e-7, the order of the sums; an export with another
# weight or another formula by 1e-2 or more.
FLOAT32 = Tolerance(1e-5, 0.99999, 1.0)
# Two compilers round bfloat16 at other places and the layers add that up: one
# apart in the last of the 8 bits of the largest number there can be, 1.0, is
# allowed.  GTR-Base, 12 layers, differs by 5e-4 from itself in float32 and as
# much from its export.
BFLOAT16 = Tolerance(2.0**-8, 0.9999, 0.9)
# Weights that were float32 lose 16 bits as well: T5X's tiny test model, 4 wide,
# comes down to cosines of 0.9992.
ROUNDED = Tolerance(2.0**-5, 0.995, 0.9)


class Worst(NamedTuple):
  """A text that is among the furthest from the model's."""

  cosine: float
  difference: float
  tower: TowerName
  text: str

  def __str__(self):
    return f"the {self.tower} {self.text!r:.60} (cosine {self.cosine:.6f})"


@dataclass(frozen=True)
class Nearness:
  """What `measure` found.

  Attributes:
    max_difference: of any number in any embedding.
    min_cosine: of an embedding with the one that is due.
    top10_overlap: of the ten passages nearest to each query, the share that
      are due.
    tolerance: the most that is allowed.
    worst: the texts that are furthest from what is due.
  """

  max_difference: float
  min_cosine: float
  top10_overlap: float
  tolerance: Tolerance
  worst: tuple[Worst, ...]

  def as_json(self) -> dict[str, Any]:
    """All of it, for parity.json."""
    return {
      "max_difference": self.max_difference,
      "min_cosine": self.min_cosine,
      "top10_overlap": self.top10_overlap,
      "tolerance": self.tolerance._asdict(),
      "worst": [text._asdict() for text in self.worst],
    }

  def require(self, whose: str, of: str) -> None:
    """Refuses what is further off than the tolerance.

    Args:
      whose: the vectors, for the error: "the export's".
      of: whose vectors are due: "the model's".

    Raises:
      ValueError: too far; the worst texts are named.
    """
    due = self.tolerance
    wrong = None
    if not self.max_difference <= due.difference:
      wrong = (
        f"{whose} embeddings differ by {self.max_difference:.1e} from {of}, at"
        f" most {due.difference:.0e} is due"
      )
    elif not self.min_cosine >= due.cosine:
      wrong = (
        f"{whose} embeddings have a cosine of {self.min_cosine:.6f} with {of},"
        f" at least {due.cosine} is due"
      )
    elif not self.top10_overlap >= due.top10_overlap:
      wrong = (
        f"{self.top10_overlap:.1%} of {whose} ten nearest passages are {of}, at"
        f" least {due.top10_overlap:.0%} is due"
      )
    if wrong:
      named = ", ".join(map(str, self.worst))
      raise ValueError(f"{wrong}; nothing was kept; worst: {named}")


def measure(
  due: Vectors, came: Vectors, texts: Sequence[str], tolerance: Tolerance
) -> Nearness:
  """How near `came` is to `due`: float32 [n, D] a tower, of the same texts."""
  worst = [
    one
    for tower in due
    for one in _distances(due[tower], came[tower], texts, tower)
  ]
  return Nearness(
    max_difference=max(one.difference for one in worst),
    min_cosine=min(one.cosine for one in worst),
    top10_overlap=top10_overlap(due, came, tolerance.difference),
    tolerance=tolerance,
    worst=tuple(heapq.nsmallest(_NUM_WORST, worst)),
  )


def _distances(
  due: np.ndarray, came: np.ndarray, texts: Sequence[str], tower: TowerName
) -> Iterator[Worst]:
  """How far each text is; a number that is none is infinitely far."""
  differences = np.nan_to_num(np.abs(came - due).max(axis=1), nan=np.inf)
  products = np.einsum("nd,nd->n", due, came, dtype=np.float64)
  norms = np.linalg.norm(due, axis=1) * np.linalg.norm(came, axis=1)
  with np.errstate(invalid="ignore", divide="ignore"):
    cosines = np.where(differences == 0, 1.0, products / norms)
  for text, cosine, difference in zip(texts, cosines, differences, strict=True):
    far = np.nan_to_num(cosine, nan=-1.0, posinf=-1.0, neginf=-1.0)
    yield Worst(float(far), float(difference), tower, text[:60])


def top10_overlap(due: Vectors, came: Vectors, margin: float) -> float:
  """Share of the ten passages nearest to each query that are due.

  A passage counts if its due score is not below that of the tenth by
  more than `margin`: of equally near ones, any will do.
  """
  scores = due["query"] @ due["passage"].T
  theirs = np.nan_to_num(came["query"] @ came["passage"].T, nan=-2.0)
  tenth = np.sort(scores, axis=1)[:, -_DEPTH:][:, 0]
  nearest = np.argsort(-theirs, axis=1, kind="stable")[:, :_DEPTH]
  kept = np.take_along_axis(scores, nearest, axis=1) >= tenth[:, None] - margin
  return float(kept.mean())
