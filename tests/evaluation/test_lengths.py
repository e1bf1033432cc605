"""Which lengths a data set is read with."""

import pytest

from gtr_jax.evaluation import lengths


def test_gtr_reads_three_data_sets_differently():
  """Section 4.2 of the GTR paper."""
  assert lengths.choose("scifact") == (64, 512)
  assert lengths.choose("arguana") == (512, 512)
  assert lengths.choose("TREC-NEWS") == (64, 768)
  assert lengths.choose("trec_news") == (64, 768)
  assert lengths.choose("robust04") == (64, 768)


def test_given_lengths_win_and_exceptions_win_over_them():
  exceptions = dict([lengths.parse_exception("Trec_News=32:1024")])
  assert lengths.choose("trec-news", 48, 96, exceptions) == (32, 1024)
  assert lengths.choose("arguana", 48, 96, exceptions) == (48, 96)
  assert lengths.choose("arguana", passage=96) == (512, 96)


@pytest.mark.parametrize("text", ["arguana", "=1:2", "a=1", "a=1:x", "a=1:-2"])
def test_a_malformed_exception_is_refused(text):
  with pytest.raises(ValueError, match="due is NAME=QUERY:PASSAGE"):
    lengths.parse_exception(text)
