"""One thing that is looked for: how often it is there, and what it costs.

The harm of a finding is the share of what is touched times a weight, which
says what one such text, query or pair costs against a pair that is merely
wasted.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from gtr_jax.doctor import encoding_trouble

# As --fail_on takes them.
OVERLAP = ("overlap_queries", "overlap_corpus")
NEAR = ("near_duplicate_queries", "near_duplicate_passages")
LANGUAGES = ("other_languages_query", "other_languages_passage")
NAMES = (
  *("bad_lines", "empty", "too_few_pairs", "short"),
  *("truncated_query", "truncated_passage"),
  *("duplicates", "duplicate_queries", "duplicate_passages"),
  *("false_negatives", "contradictions", "negatives_elsewhere", "echoes"),
  "id_conflicts",
  *(*NEAR, *LANGUAGES, *OVERLAP, *encoding_trouble.KINDS),
)
NOT_INSTALLED = "pip install 'gtr_jax[data]'"
SERIOUS, NOTABLE = 0.05, 0.002  # Harm from which on a finding is called so.


@dataclass(frozen=True)
class Offender:
  """Where it shows.

  Attributes:
    pairs: numbers of pairs, from 0; none where `place` says it.
    text: None shows the text of the first pair that has this role.
    role: "query", "positive" or "negative".
    which: of each pair, the number of the positive; none is the first.
    note: what else there is to say, such as an evaluation id.
  """

  pairs: tuple[int, ...]
  role: str
  text: str | None = None
  note: str = ""
  place: str = ""
  which: tuple[int, ...] = ()


@dataclass(frozen=True)
class Finding:
  """One thing that was looked for; found where `count` is above 0.

  Attributes:
    name: as --fail_on takes it.
    title: what is counted.
    total: of how many.
    weight: see above.
    advice: what to do.
    remark: what else there is to know.
  """

  name: str
  title: str
  count: float
  total: int
  weight: float
  advice: str
  offenders: Sequence[Offender] = field(default=())
  remark: str = ""

  @property
  def rate(self) -> float:
    return self.count / self.total if self.total else 0.0

  @property
  def harm(self) -> float:
    return self.weight * self.rate

  @property
  def level(self) -> str:
    if self.harm >= SERIOUS:
      return "serious"
    return "notable" if self.harm >= NOTABLE else "minor"


@dataclass(frozen=True)
class BadLines:
  """Lines that hold no pair.

  Attributes:
    num_lines: all of them, those without a text included.
    num_empty: those whose only fault is known to be an empty text.
    examples: places, and what is wrong there.
  """

  num_lines: int = 0
  num_empty: int = 0
  examples: Sequence[tuple[str, str]] = ()
