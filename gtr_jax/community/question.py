"""A question that comes with its answers, and the pair that it makes."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from gtr_jax.community.filters import Filters
from gtr_jax.community.html_text import Text
from gtr_jax.community.tally import Tally
from gtr_jax.data.pair import Pair


class Question(NamedTuple):
  """Texts that belong together in the file already.

  Attributes:
    answers: the best first.
    negatives: texts that do not answer it.
  """

  id: str
  query: str
  answers: tuple[Text, ...]
  negatives: tuple[str, ...] = ()


def pairs(
  questions: Iterable[Question],
  filters: Filters,
  num_answers: int,
  tally: Tally,
) -> Iterator[Pair]:
  """A pair a question, less what `filters` refuse; `tally` says why."""
  for question in questions:
    tally["questions.in"] += 1
    tally["answers.in"] += len(question.answers)
    chosen: list[str] = []
    reason = filters.query_reason(question.query)
    for answer in question.answers:
      why = "question_left_out" if reason else None
      why = why or filters.answer_reason(question.query, answer)
      if not why and answer.text in chosen:
        why = "copy_of_answer"
      if not why and len(chosen) == num_answers:
        why = "not_the_best"
      if why:
        tally[f"answers.left_out.{why}"] += 1
      else:
        chosen.append(answer.text)
    if not chosen:
      tally[f"questions.left_out.{reason or 'no_answer'}"] += 1
      continue
    yield Pair(
      query=question.query,
      positives=tuple(chosen),
      negatives=_negatives(question, chosen),
      query_id=question.id,
    )


def _negatives(question: Question, chosen: list[str]) -> tuple[str, ...]:
  """Those that are no answer after all, each once."""
  answers = {*chosen, *(answer.text for answer in question.answers), ""}
  return tuple(
    text for text in dict.fromkeys(question.negatives) if text not in answers
  )
