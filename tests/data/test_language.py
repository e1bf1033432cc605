import sys

import pytest

from gtr_jax.data import language

pytest.importorskip("pycld2", reason="pycld2 is not installed: [data]")


def test_names_languages():
  texts = [
    "How do I sort a list of strings by their length?",
    "Wie sortiere ich eine Liste von Zeichenketten nach ihrer Länge?",
    "Comment trier une liste de chaînes de caractères par longueur ?",
    "如何按长度对字符串列表进行排序？这个问题很常见。",
    "Как отсортировать список строк по их длине, если он очень большой?",
  ]
  assert language.detect(texts) == ["en", "de", "fr", "zh", "ru"]


@pytest.mark.parametrize("text", ["", " ", "12345", "x", "\0", "\ud800", "?!"])
def test_does_not_guess(text):
  assert language.detect([text]) == [""]


def test_characters_that_the_library_refuses_are_passed_over():
  strange = "\0\x08\x0b\x1f\x7f\x9f\ud800\udfff\ufdd0\ufffe\uffff\U0001fffe"
  english = "How do I sort a list of strings by their length? "
  assert language.detect([strange + english + strange]) == ["en"]


def test_unknown_codes_are_refused():
  language.check(["en", "de", "zh"])
  with pytest.raises(ValueError, match="no language has the code 'english'"):
    language.check(["en", "english"])


def test_says_what_to_install(monkeypatch):
  monkeypatch.setitem(sys.modules, "pycld2", None)
  with pytest.raises(ValueError, match=r"pip install 'gtr_jax\[data\]'"):
    language.detect(["text"])
