import numpy as np
import pytest

from gtr_jax.data import permutation


@pytest.mark.parametrize("size", [1, 2, 3, 10, 64, 65, 1000, 4097])
def test_is_a_permutation(size):
  image = permutation.permute(np.arange(size), size, 7, 0)
  np.testing.assert_array_equal(np.sort(image), np.arange(size))


def test_an_index_goes_where_it_goes_alone():
  """No index depends on which others are asked for beside it."""
  image = permutation.permute(np.arange(1000), 1000, 3)
  for index in (0, 1, 999):
    assert permutation.permute(np.array([index]), 1000, 3) == image[index]


def test_two_thousand_million_indices_need_no_memory():
  size = 2_000_000_011
  indices = np.random.default_rng(0).choice(size, 10_000, replace=False)
  image = permutation.permute(indices, size, 0)
  assert image.min() >= 0 and image.max() < size
  assert len(np.unique(image)) == len(indices)
  # Uniform: the mean of n draws is off by size / sqrt(12 n), six sigma here.
  assert abs(image.mean() / size - 0.5) < 6 / np.sqrt(12 * len(indices))


def test_key_decides():
  indices = np.arange(1000)
  orders = [
    permutation.permute(indices, 1000, *key)
    for key in [(0, 0), (0, 1), (1, 0), (-1, 0), (2**64 + 5, 0)]
  ]
  for first in range(len(orders)):
    for second in range(first):
      assert np.mean(orders[first] == orders[second]) < 0.02


def test_positions_are_uniform():
  """Each of 12 indices lands on each of 12 places about equally often."""
  counts = np.zeros((12, 12))
  for seed in range(2400):
    counts[np.arange(12), permutation.permute(np.arange(12), 12, seed)] += 1
  # Chi square of 143 cells with 200 due each: mean about 121, deviation 15.6.
  chi_square = ((counts - 200) ** 2 / 200).sum()
  assert chi_square < 121 + 6 * 15.6


def test_neighbours_part():
  """Whether the order of two neighbours turns is a fair coin."""
  image = permutation.permute(np.arange(100_000), 100_000, 5)
  assert abs(np.mean(np.diff(image) > 0) - 0.5) < 0.02
  assert abs(np.corrcoef(np.arange(100_000), image)[0, 1]) < 0.02


def test_mix_is_fixed_for_good():
  """The output of SplitMix64 for seed 0, first value, is published."""
  assert int(permutation.mix(0)) == 0xE220A8397B1DCDAF


def test_mix_broadcasts():
  table = permutation.mix(1, np.arange(3)[:, None], np.arange(4))
  assert table.shape == (3, 4)
  assert table[2, 3] == permutation.mix(1, 2, 3)
  assert len(np.unique(table)) == 12
