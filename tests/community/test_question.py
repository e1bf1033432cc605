from gtr_jax.community import filters, question
from gtr_jax.community.html_text import Text
from gtr_jax.community.tally import Tally


def made(query, *answers, negatives=()):
  return question.Question(query, query, tuple(map(Text, answers)), negatives)


def test_pairs_and_why_not():
  tally = Tally()
  limits = filters.Filters(filters.Lengths(2), filters.Lengths(2))
  found = question.pairs(
    [
      made(
        "q1", "x", "one", "one", "two", "three", negatives=("two", "no", "no")
      ),
      made("q", "an answer"),
      made("q3", "q3"),
    ],
    limits,
    2,
    tally,
  )
  (pair,) = found
  assert pair.query_id == "q1"
  assert pair.positives == ("one", "two")
  assert pair.negatives == ("no",)
  assert tally == {
    "questions.in": 3,
    "questions.left_out.too_short": 1,
    "questions.left_out.no_answer": 1,
    "answers.in": 7,
    "answers.left_out.too_short": 1,
    "answers.left_out.copy_of_answer": 1,
    "answers.left_out.not_the_best": 1,
    "answers.left_out.question_left_out": 1,
    "answers.left_out.copy_of_query": 1,
  }
