import pytest

from gtr_jax.community import filters
from gtr_jax.community.html_text import Text

LENGTHS = filters.Lengths(3, 10, 2, 3)


@pytest.mark.parametrize(
  "text, reason",
  [
    ("", "empty"),
    ("a", "too_short"),
    ("abcd", "too_short"),
    ("a b", None),
    ("a b c d", "too_long"),
    ("a bcdefghi", None),
    ("a bcdefghij", "too_long"),
  ],
)
def test_lengths(text, reason):
  assert LENGTHS.reason(text) == reason


def test_reasons_of_answers():
  wanted = filters.Filters(filters.Lengths(1), filters.Lengths(2), (), 0.5)
  reason = lambda text, share=0.0: wanted.answer_reason(
    "q q", Text(text, share)
  )
  assert reason("an answer") is None
  assert reason("an answer", 0.5) is None
  assert reason("an answer", 0.51) == "code"
  refused = Text("an answer", refused="too_deep")
  assert wanted.answer_reason("q q", refused) == "too_deep"
  assert reason("q q") == "copy_of_query"
  assert reason("a") == "too_short"
  assert wanted.query_reason("") == "empty"


def test_languages():
  pytest.importorskip("pycld2", reason="pycld2 is not installed: [data]")
  german = Text("Das ist eine lange Antwort auf eine noch längere Frage.")
  question = "Wie lang darf eine Antwort eigentlich sein?"
  for languages, reason in (
    ((), None),
    (("de", "fr"), None),
    (("en",), "language"),
  ):
    wanted = filters.Filters(languages=languages)
    assert wanted.answer_reason(question, german) == reason
  wanted = filters.Filters(filters.Lengths(), filters.Lengths(), ("de",))
  assert wanted.answer_reason("0x1F", Text("1 2 3")) is None
