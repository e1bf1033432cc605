import numpy as np

from gtr_jax.data import first_seen


def test_is_a_dictionary():
  rng = np.random.default_rng(0)
  table, expected, number = first_seen.FirstSeen(), {}, 0
  for size in [1, 0, 7, 5000, 3000, 20_000]:
    keys = rng.integers(0, 12_000, size, np.uint64) << np.uint64(40)
    numbers = np.arange(number, number + size)
    number += size
    for key, at in zip(keys.tolist(), numbers.tolist(), strict=True):
      expected.setdefault(key, at)
    assert table.add(keys, numbers).tolist() == [
      expected[key] for key in keys.tolist()
    ]
    assert len(table) == len(expected)


def test_zero_and_the_largest_key_are_keys():
  keys = np.array([0, 2**64 - 1], np.uint64)
  table = first_seen.FirstSeen()
  assert table.add(keys, np.array([3, 4])).tolist() == [3, 4]
  assert table.add(keys, np.array([5, 6])).tolist() == [3, 4]
