"""Searches with a known answer, and how many compiles they would cost."""

import pytest

from gtr_jax.planning import find


class Fits:
  """Whether a number fits; each may be asked once."""

  def __init__(self, fits):
    self.fits = fits
    self.asked = []

  def __call__(self, number):
    assert number not in self.asked
    self.asked.append(number)
    return self.fits(number)


@pytest.mark.parametrize("limit", [64, 100, 2048, 3000, 4097, 60_000, 10**6])
@pytest.mark.parametrize("start", [64, 2048, 100_000])
def test_largest_is_within_a_sixteenth(limit, start):
  fits = Fits(lambda number: number <= limit)
  found = find.largest(fits, start, unit=32)
  assert found is not None and found % 32 == 0
  assert found <= limit < found + max(32, found / 16) + 32
  assert len(fits.asked) <= 20


def test_largest_of_a_power_of_two_is_exact_in_few_tries():
  fits = Fits(lambda number: number <= 65_536)
  assert find.largest(fits, 32_768, unit=16) == 65_536
  assert fits.asked[:3] == [32_768, 65_536, 131_072]
  assert len(fits.asked) <= 7


def test_nothing_fits():
  assert find.largest(lambda number: False, 1000, unit=8) is None
  assert find.smallest(lambda number: False, [1, 2, 4], start=1) is None


@pytest.mark.parametrize("least", [1, 2, 16, 64, 1024])
@pytest.mark.parametrize("start", [1, 32, 1024, 7])
def test_smallest(least, start):
  fits = Fits(lambda number: number >= least)
  candidates = find.chunk_counts(1024)
  assert find.smallest(fits, candidates, start) == least
  assert len(fits.asked) <= 5
  assert fits.asked[0] == (start if start in candidates else 32)


def test_chunks_are_powers_of_two_up_to_one_row():
  assert find.chunk_counts(1) == [1]
  assert find.chunk_counts(24) == [1, 2, 4, 8, 16]
  assert find.chunk_counts(32) == [1, 2, 4, 8, 16, 32]
