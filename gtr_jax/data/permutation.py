"""Random orders that need no memory: where an index goes is computed.

The functions are fixed for good: they are part of what makes a run
repeatable, unlike a library's generator, which may change with its version.
"""

import numpy as np

_NUM_ROUNDS = 8
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def mix(*words: int | np.ndarray) -> np.ndarray:
  """A hash of integers, uint64, over arrays that broadcast together.

  Source: the finaliser of SplitMix64 (Steele et al., 2014,
  https://doi.org/10.1145/2714064.2660195), once a word.
  """
  state = np.uint64(0)
  with np.errstate(over="ignore"):  # Products are meant modulo 2^64.
    for word in words:
      state = state + _GOLDEN + _as_uint64(word)
      state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
      state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
      state = state ^ (state >> np.uint64(31))
  return np.asarray(state)


def permute(indices: np.ndarray, size: int, *key: int) -> np.ndarray:
  """Where a random permutation of `range(size)` sends each index, int64.

  Args:
    indices: each at least 0 and below `size`.
    key: integers that choose the permutation, such as seed and epoch.

  Source: a Feistel network on the next power of two, walked until the value is
  in range (Black & Rogaway, 2002, https://doi.org/10.1007/3-540-45760-7_9).
  """
  num_bits = max((size - 1).bit_length(), 2)
  round_keys = [mix(*key, number) for number in range(_NUM_ROUNDS)]
  values = _feistel(indices.astype(np.uint64), num_bits, round_keys)
  outside = np.flatnonzero(values >= size)
  while outside.size:
    values[outside] = _feistel(values[outside], num_bits, round_keys)
    outside = outside[values[outside] >= size]
  return values.astype(np.int64)


def _feistel(
  values: np.ndarray, num_bits: int, round_keys: list[np.ndarray]
) -> np.ndarray:
  """A bijection of the integers of `num_bits` bits: every round undoes."""
  low_bits = np.uint64(num_bits // 2)
  low_mask = np.uint64(2 ** (num_bits // 2) - 1)
  high_mask = np.uint64(2 ** (num_bits - num_bits // 2) - 1)
  low, high = values & low_mask, values >> low_bits
  for number, round_key in enumerate(round_keys):
    if number % 2:
      high = high ^ (mix(round_key, low) & high_mask)
    else:
      low = low ^ (mix(round_key, high) & low_mask)
  return (high << low_bits) | low


def _as_uint64(word: int | np.ndarray) -> np.ndarray | np.uint64:
  if isinstance(word, np.ndarray):
    return word.astype(np.uint64)
  return np.uint64(word % 2**64)
