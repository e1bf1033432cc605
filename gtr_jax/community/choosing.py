"""From a question and its answers to a pair."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gtr_jax.community.filters import Filters
from gtr_jax.community.html_text import Text
from gtr_jax.community.post import Post
from gtr_jax.community.tally import Tally
from gtr_jax.data.pair import Pair

ToText = Callable[[str], Text]  # What the body of a post says.


@dataclass(frozen=True)
class Rules:
  """Which posts make a pair.

  Attributes:
    site: begins the ids: "site/12".
    to_text: what a body says.
    num_answers: at most so many a question, the best first: the accepted one,
      then by score, then the older.
    only_accepted: no other than the accepted answer.
    min_question_score, min_answer_score: None sets no limit.  The accepted
      answer needs the score too.
    closed: whether closed questions are taken.
    body: whether the query is the title and the body.
  """

  site: str
  to_text: ToText
  filters: Filters = Filters()
  num_answers: int = 1
  only_accepted: bool = False
  min_question_score: int | None = 0
  min_answer_score: int | None = 0
  closed: bool = False
  body: bool = False

  def choose(
    self, question: Post, answers: Sequence[Post], tally: Tally
  ) -> Pair | None:
    """The pair of a question; None if there is none, and `tally` says why."""
    query = self._query(question)
    reason = self._question_reason(question, query)
    if reason:
      tally["answers.left_out.question_left_out"] += len(answers)
    else:
      chosen = self._answers(question, query, answers, tally)
      if chosen:
        return self._pair(question, query, chosen)
      reason = "no_answer"
    tally[f"questions.left_out.{reason}"] += 1
    return None

  def _query(self, question: Post) -> str:
    query = " ".join(question.title.split())
    if self.body:
      query = f"{query} {self.to_text(question.body).text}".strip()
    return query

  def _question_reason(self, question: Post, query: str) -> str | None:
    if question.left_out and not (
      self.closed and question.left_out == "closed"
    ):
      return question.left_out
    least = self.min_question_score
    if least is not None and question.score < least:
      return "low_score"
    return self.filters.query_reason(query)

  def _answers(
    self, question: Post, query: str, answers: Sequence[Post], tally: Tally
  ) -> list[tuple[Post, str]]:
    chosen: list[tuple[Post, str]] = []
    for answer in sorted(answers, key=lambda answer: _rank(question, answer)):
      reason = self._answer_reason(question, answer)
      if not reason and len(chosen) == self.num_answers:
        reason = "not_the_best"
      if not reason:
        text = self.to_text(answer.body)
        reason = self.filters.answer_reason(query, text)
        if not reason and any(text.text == other for _, other in chosen):
          reason = "copy_of_answer"
        if not reason:
          chosen.append((answer, text.text))
      if reason:
        tally[f"answers.left_out.{reason}"] += 1
    return chosen

  def _answer_reason(self, question: Post, answer: Post) -> str | None:
    if answer.left_out:
      return answer.left_out
    if self.only_accepted and answer.number != question.accepted:
      return "not_accepted"
    least = self.min_answer_score
    if least is not None and answer.score < least:
      return "low_score"
    return None

  def _pair(
    self, question: Post, query: str, chosen: Sequence[tuple[Post, str]]
  ) -> Pair:
    return Pair(
      query=query,
      positives=tuple(text for _, text in chosen),
      query_id=f"{self.site}/{question.id}",
      positive_ids=tuple(f"{self.site}/{answer.id}" for answer, _ in chosen),
    )


def _rank(question: Post, answer: Post) -> tuple[bool, int, int]:
  """Orders answers: the accepted one, then by score, then the older."""
  return answer.number != question.accepted, -answer.score, answer.number
