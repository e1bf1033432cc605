import pytest

from gtr_jax.data import prose

DOCSTRING = """dump(obj, fp, *, indent=None) -> None

    Serialize ``obj`` to a file, e.g. one on disk. It is written
    by :meth:`~json.JSONEncoder.encode`.

    >>> dump([], file)
    None

    .. versionchanged:: 3.6

    Arguments
    ---------
    obj: what is written
    fp: where it is
       written to

        for (i, x) in enumerate(y): z[i] = x ** 2
    """


def test_blocks_are_lines_without_markup_and_doctests():
  assert prose.blocks(DOCSTRING) == (
    "dump(obj, fp, *, indent=None) -> None",
    "Serialize obj to a file, e.g. one on disk. It is written"
    " by json.JSONEncoder.encode.",
    "Arguments",
    "obj: what is written fp: where it is written to",
    "for (i, x) in enumerate(y): z[i] = x ** 2",
  )


def test_items_are_blocks_of_their_own():
  text = "\nRaises:\n  OSError: no file,\n    or no disk\n  ValueError: bad"
  assert prose.blocks(text) == (
    "Raises:",
    "OSError: no file, or no disk",
    "ValueError: bad",
  )
  assert prose.blocks("* one\n* two\n\n:param x: three") == (
    "one",
    "two",
    ":param x: three",
  )


def test_summary_is_the_first_sentence_and_body_the_prose_after_it():
  summary, body = prose.summary_and_body(DOCSTRING, max_words=200)
  assert summary == "Serialize obj to a file, e.g. one on disk."
  assert body == (
    "It is written by json.JSONEncoder.encode. Arguments"
    " obj: what is written fp: where it is written to"
  )


def test_body_is_cut():
  assert prose.summary_and_body("One. Two three four.", 2) == (
    "One.",
    "Two three",
  )


@pytest.mark.parametrize("text", ["", "   \n", ">>> f()\n1"])
def test_nothing_has_neither_summary_nor_body(text):
  assert prose.summary_and_body(text, 200) == ("", "")


@pytest.mark.parametrize(
  "text, expected",
  [
    ("One. Two! Three?", ["One.", "Two!", "Three?"]),
    ("Use i.e. This or e.g. That.", ["Use i.e. This or e.g. That."]),
    ("By T. S. Eliot. (Really.) Yes", ["By T. S. Eliot.", "(Really.)", "Yes"]),
    ("version 3.6 and x.y stay", ["version 3.6 and x.y stay"]),
  ],
)
def test_sentences(text, expected):
  assert prose.sentences(text) == expected


@pytest.mark.parametrize(
  "text, min_words, expected",
  [
    ("Return the file's name.", 4, True),
    ("Return the file's name.", 6, False),
    ("x = f(y) + z[3] * w", 1, False),
    ("Copyright of the authors of this file", 3, False),
    ("", 0, True),
  ],
)
def test_is_prose(text, min_words, expected):
  assert prose.is_prose(text, min_words) is expected


@pytest.mark.parametrize(
  "name, expected",
  [
    ("json.JSONDecoder.raw_decode", "json json decoder raw decode"),
    ("ipaddress.IPv6Address", "ipaddress ipv6 address"),
    ("_pyio.__init__", "pyio init"),
    ("lib2to3.HTTPServer", "lib2to3 http server"),
  ],
)
def test_name_words(name, expected):
  assert prose.name_words(name) == expected


def test_words_leave_case_and_punctuation_out():
  assert prose.words("Don't — stop!") == prose.words("don t stop")
