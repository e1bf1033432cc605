from gtr_jax.data import weak_pairs
from gtr_jax.data.docstrings import Definition

TEXT = "Reads the whole file into memory."
MORE = "The file must have been opened for reading."


def test_pairs_are_what_stands_together():
  module = Definition("files", "", "Helpers for all kinds of open files.")
  function = Definition(
    "files",
    "readAll",
    f"{TEXT}\n\nNotes\n-----\n{MORE}",
    parameters=("path_name",),
    comment="Slow for files that are larger than memory.",
    messages=("the file is not open", "%s: %d"),
  )
  text = f"{TEXT} Notes {MORE}"
  assert set(weak_pairs.module_pairs([module, function])) == {
    ("files read all", text),
    ("read all path name", text),
    ("Helpers for all kinds of open files. read all", text),
    ("the file is not open", text),
    ("files read all", "Slow for files that are larger than memory."),
    ("Slow for files that are larger than memory.", text),
    ("files read all Notes", MORE),
  }


def test_a_summary_never_meets_its_body():
  definition = Definition("files", "read", f"{TEXT} {MORE}\n\n{MORE}")
  pairs = list(weak_pairs.module_pairs([definition]))
  assert pairs == [("files read", f"{TEXT} {MORE} {MORE}")]


def test_code_and_short_texts_make_no_pair():
  definition = Definition(
    "files", "read", "Reads.", remarks=("x = y[0] + f(z) * 3 - w[-1]",)
  )
  assert list(weak_pairs.module_pairs([definition])) == []


def test_long_texts_are_cut():
  definition = Definition("files", "read", "word " * 500)
  ((query, passage),) = weak_pairs.module_pairs([definition])
  assert query == "files read"
  assert len(passage.split()) == weak_pairs.MAX_PASSAGE_WORDS
