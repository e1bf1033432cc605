"""Each kind of trouble is seen where it is, and only there."""

import pytest

from gtr_jax.doctor import encoding_trouble

SHOWN = [
  ("nul", "a\x00b"),
  ("replacement", "caf\ufffd"),
  ("control", "a\x07b"),
  ("invisible", "a\u200bb"),
  ("invisible", "\ufeffa"),
  ("html", "one<br>two"),
  ("html", "AT&amp;T"),
  ("html", '<a href="x">y</a>'),
  ("html", "&#39;"),
]
CLEAN = [
  "plain words",
  "a\tb\nc\r\n",
  "if a < b and b > c: AT&T; R&D",
  "List<String> x",
  "vector<int>",
  "Café in São Paulo, naïve – “quoted”",
  "日本語のテキスト",
  "Привет, мир",
  "می\u200cخواهم",  # A joiner that Persian is written with.
  "¬¬φ is provable",
]


def kinds(text):
  return [kind for kind, _ in encoding_trouble.finder()(text)]


@pytest.mark.parametrize("kind, text", SHOWN)
def test_trouble_is_seen(kind, text):
  assert kinds(text) == [kind]


def test_control_characters_beyond_ascii_are_seen():
  assert "control" in kinds("a\x85b")


@pytest.mark.parametrize("text", CLEAN)
def test_clean_texts_are_left_alone(text):
  assert kinds(text) == []


@pytest.mark.parametrize("text", ["CafÃ© au lait", "itâ€™s"])
def test_mojibake_is_seen(text):
  pytest.importorskip("ftfy", reason="it knows mojibake")
  assert kinds(text) == ["mojibake"]


def test_the_excerpt_shows_the_place():
  text = "x" * 100 + "<br>" + "y" * 100
  ((_, excerpt),) = encoding_trouble.finder()(text)
  assert excerpt == "…" + "x" * 30 + "<br>" + "y" * 30 + "…"
