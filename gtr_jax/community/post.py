"""A question or an answer, as a dump holds it."""

from typing import NamedTuple


class Post(NamedTuple):
  """A tuple, so that files between two steps can hold it.

  Attributes:
    number: unique among the posts of a site and its question's order in the
      output.
    question: number of the question that this answers; None: it is a question.
    id: as pairs name it, without the site.
    title: of a question.
    body: HTML or plain text, as the dump has it.
    score: votes.
    accepted: of a question: number of the answer that the asker took, or None.
    left_out: why it makes no pair, or "".
    place: file:line, for messages.
  """

  number: int
  question: int | None
  id: str
  title: str
  body: str
  score: int
  accepted: int | None
  left_out: str
  place: str
