import pytest

from gtr_jax.data import overlap

KNOWN = "It is an error to call this method twice in a row."


@pytest.mark.parametrize(
  "text, expected",
  [
    (KNOWN, True),
    (KNOWN.upper().replace(" ", " - "), True),
    ("Note: it is an error to call this method, or any other.", True),
    ("It is an error to call this one.", False),
    ("in a row", False),  # Too short to be a run of a longer text.
    ("", False),
  ],
)
def test_overlap_is_eight_words_in_a_row(text, expected):
  assert overlap.overlaps(text, overlap.all_runs([KNOWN])) is expected


def test_short_texts_overlap_where_they_are_equal():
  known = overlap.all_runs(["Close the file."])
  assert overlap.overlaps("close the file", known)
  assert not overlap.overlaps("Close the file now.", known)
