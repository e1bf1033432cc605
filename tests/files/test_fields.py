"""Fields of a record: what is taken, and the words of what is not."""

import pytest

from gtr_jax.files import fields


def test_what_is_taken():
  assert fields.string("", "text") == ""
  assert fields.string("日本 🎉", "text") == "日本 🎉"
  assert fields.optional_string(None, "title") == ""
  assert fields.identifier("a b", "_id") == "a b"
  assert fields.identifier(0, "_id") == "0"


@pytest.mark.parametrize(
  "check, value, message",
  [
    (fields.string, None, "'x' is missing or null, a string was due"),
    (fields.string, 3, "'x' is a int, a string was due"),
    (fields.string, {}, "'x' is an object, a string was due"),
    (fields.optional_string, [], "'x' is a list, a string was due"),
    (fields.string, "\ud83d", r"half a character .lone surrogate \\ud83d.: "),
    (fields.identifier, "\ud83d", r"'x' holds half a character"),
    (fields.identifier, None, "missing or null, a string or a whole number"),
    (fields.identifier, True, "'x' is true or false, a string or a whole"),
    (fields.identifier, 1.0, "'x' is a float"),
    (fields.identifier, "", "the id '' is empty: give 'x' a text"),
  ],
)
def test_what_is_refused(check, value, message):
  with pytest.raises(ValueError, match=message):
    check(value, "x")


def test_a_message_may_say_more_of_what_was_due():
  with pytest.raises(ValueError, match="a list, one word was due"):
    fields.string([], "x", due="one word")
