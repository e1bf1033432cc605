"""Which texts are worth training on; each refusal has a name.

Source: length, score, code and language are what the makers of such pairs
filter by, as in Wang et al., 2022, section 3 (https://arxiv.org/abs/2212.03533).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from gtr_jax.community.html_text import Text
from gtr_jax.data import language


@dataclass(frozen=True)
class Lengths:
  """How long a text may be; None sets no limit.

  Attributes:
    words: runs without white space, which Chinese and Thai do not have.
  """

  min_characters: int | None = None
  max_characters: int | None = None
  min_words: int | None = None
  max_words: int | None = None

  def reason(self, text: str) -> str | None:
    """Why a text is refused."""
    if not text:
      return "empty"
    if self.min_characters is not None and len(text) < self.min_characters:
      return "too_short"
    if self.max_characters is not None and len(text) > self.max_characters:
      return "too_long"
    if self.min_words is None and self.max_words is None:
      return None
    num_words = len(text.split())
    if self.min_words is not None and num_words < self.min_words:
      return "too_short"
    if self.max_words is not None and num_words > self.max_words:
      return "too_long"
    return None


@dataclass(frozen=True)
class Filters:
  """What a query and its answer must be.

  Attributes:
    languages: ISO 639 codes; a pair in another language is left out, one whose
      language nobody can tell stays.  Empty takes all.
    max_code_share: most of an answer that may be blocks of code.
  """

  query: Lengths = Lengths(10, 2_000)
  answer: Lengths = Lengths(30, 30_000)
  languages: Sequence[str] = ()
  max_code_share: float = 1.0

  def query_reason(self, query: str) -> str | None:
    """Why no pair with this query is wanted."""
    return self.query.reason(query)

  def answer_reason(self, query: str, answer: Text) -> str | None:
    """Why this answer to the query is not wanted."""
    if answer.refused:
      return answer.refused
    if answer.code_share > self.max_code_share:
      return "code"
    if reason := self.answer.reason(answer.text):
      return reason
    if answer.text == query:
      return "copy_of_query"
    if self.languages:
      (found,) = language.detect([f"{query}\n{answer.text}"])
      if found and found not in self.languages:
        return "language"
    return None
