"""Which passages may be negatives of a query: limits on scores, equal texts."""

import hashlib
import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Rules:
  """Which candidates become negatives; None sets no limit.

  A passage that scores as high as the positive is often an answer that nobody
  judged.  Of several positives the one with the lowest score counts.  Several
  searches take turns; which comes first differs from query to query.

  Attributes:
    num_negatives: at most so many a query.
    max_score: the highest score of a negative.
    margin: how far below the positive its score is at least.
    relative_margin: the same as a share of the positive's score.
    seed: draws from the candidates that pass; None takes the first.

  Source: the filters of Moreira et al., 2024, section 3
  (https://arxiv.org/abs/2407.15831).
  """

  num_negatives: int = 1
  max_score: float | None = None
  margin: float | None = None
  relative_margin: float | None = None
  seed: int | None = None

  def __post_init__(self) -> None:
    """Raises ValueError for a limit that is no number: it would limit none."""
    for name in ("max_score", "margin", "relative_margin"):
      limit = getattr(self, name)
      if limit is not None and not math.isfinite(limit):
        raise ValueError(f"the limit {name} is {limit}: give a number")

  def too_near(self, score: float, positive: float) -> str | None:
    """The name of the first limit that the score of a negative breaks."""
    if self.max_score is not None and score > self.max_score:
      return "max_score"
    if self.margin is not None and score > positive - self.margin:
      return "margin"
    share = self.relative_margin
    if share is not None and score > positive - share * abs(positive):
      return "relative_margin"
    return None


def text_key(text: str) -> bytes:
  """The same for texts that differ in case and white space only."""
  plain = " ".join(text.casefold().split())
  return hashlib.blake2b(plain.encode(), digest_size=8).digest()
