"""JSONL of any fields, and lists of texts that belong together."""

import json
from typing import Any

import pytest

from gtr_jax.community import fields
from gtr_jax.files.lines import BadLineError

NAMES = fields.Names()
FORMS = {
  "pair": (["q  q", "a"], ("s/1", "q q", ["a"], ())),
  "triple": (["q", "a", "n"], ("s/1", "q", ["a"], ("n",))),
  "texts": ({"texts": ["q", "a"], "guid": 3}, ("s/1", "q", ["a"], ())),
  "set": ({"set": ["q", "a", "b"]}, ("s/1", "q", ["a", "b"], ())),
  "lists": (
    {"query": "q", "pos": ["a", "b"], "neg": ["n", "m"]},
    ("s/1", "q", ["a", "b"], ("n", "m")),
  ),
  "query": ({"query": "q", "pos": "a"}, ("s/1", "q", ["a"], ())),
  "fields": (
    {"title": "q", "body": "b", "answer": "a", "id": 7},
    ("s/7", "q", ["a"], ()),
  ),
  "answers": (
    {"title": "q", "answer": ["a", "b"]},
    ("s/1", "q", ["a", "b"], ()),
  ),
}


def read(path, content, names=NAMES, mode: Any = "error", bad=None):
  path.write_text(content, encoding="utf-8")
  bad = [] if bad is None else bad
  return [
    (q.id, q.query, [answer.text for answer in q.answers], q.negatives)
    for q in fields.read(path, "s", names, mode, lambda _: None, bad)
  ]


@pytest.mark.parametrize("record, found", FORMS.values(), ids=FORMS)
def test_each_form(tmp_path, record, found):
  assert read(tmp_path / "a.jsonl", json.dumps(record)) == [found]


def test_the_names_of_fields(tmp_path):
  record = {"q": "title", "d": "body", "best": "answer", "_id": "x"}
  names = fields.Names("q", "d", "best", "_id", with_body=True)
  found = read(tmp_path / "a.jsonl", json.dumps(record), names)
  assert found == [("s/x", "title body", ["answer"], ())]


BAD = {
  "cut": ('{"title": "q"', "not JSON"),
  "deep": ("[" * 99_999, "not JSON"),
  "number": ("3", "a int came, an object or a list was due"),
  "one text": ('["q"]', "a list of 1 came, two texts were due"),
  "four texts": ('["q", "a", "b", "c"]', "a list of 4 came"),
  "no text": ('["q", 3]', "'list[1]'"),
  "null": ('["q", null]', "'list[1]' is missing or null"),
  "surrogate": ('["q", "\\ud800"]', "half a character"),
  "other fields": ('{"a": 1, "b": 2}', "no field 'title' among a, b"),
  "small set": ('{"set": ["q"]}', "'set' holds 1 texts, 2 were due"),
  "no answers": ('{"title": "q", "answer": []}', "holds 0 texts"),
  "id": ('{"title": "q", "answer": "a", "id": [1]}', "'id' is "),
}


@pytest.mark.parametrize("line, reason", BAD.values(), ids=BAD)
def test_a_bad_line_is_an_error_or_a_counted_skip(tmp_path, line, reason):
  path, good = tmp_path / "a.jsonl", '["q", "a"]'
  with pytest.raises(BadLineError) as error:
    read(path, f"{good}\n{line}\n{good}\n")
  assert str(error.value).startswith(f"{path}:2: ") and reason in str(
    error.value
  )
  bad = []
  found = read(path, f"{good}\n{line}\n{good}\n", mode="skip", bad=bad)
  assert [name for name, *_ in found] == ["s/1", "s/3"] and bad == [2]
