"""Which text was the first to have a key: a table of flat arrays.

A dictionary of Python objects costs about 130 bytes a key.
"""

import numpy as np
from jaxtyping import Int64, UInt32, UInt64

NOBODY = -1

_FREE = np.uint32(0xFFFFFFFF)
_START_SLOTS = 1 << 12  # A power of two.
_MAX_LOAD = 0.6


class FirstSeen:
  """Keeps the smallest number that each 64-bit key was given with.

  An open-addressing table with linear probing: 12 bytes a slot, 20 to 40 a key.
  """

  def __init__(self) -> None:
    self._allocate(_START_SLOTS)
    self._num_keys = 0

  def __len__(self) -> int:
    return self._num_keys

  def add(
    self, keys: UInt64[np.ndarray, "n"], numbers: Int64[np.ndarray, "n"]
  ) -> Int64[np.ndarray, "n"]:
    """The first number of each key, these included.

    Args:
      numbers: ascending, and none below those of earlier calls; at most
        2**32 - 2.
    """
    unique, first, inverse = np.unique(
      keys, return_index=True, return_inverse=True
    )
    found = self._find(unique)
    new = found == NOBODY
    found[new] = numbers[first[new]]
    self._insert(unique[new], found[new].astype(np.uint32))
    return found[inverse]

  def _allocate(self, num_slots: int) -> None:
    self._keys = np.zeros(num_slots, np.uint64)
    self._numbers = np.full(num_slots, _FREE)

  def _slots(self, keys: UInt64[np.ndarray, "n"]) -> Int64[np.ndarray, "n"]:
    # Fibonacci hashing; a key need not be well mixed.
    mixed = keys * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(32)
    return (mixed & np.uint64(len(self._keys) - 1)).astype(np.int64)

  def _find(self, keys: UInt64[np.ndarray, "n"]) -> Int64[np.ndarray, "n"]:
    found = np.full(len(keys), NOBODY, np.int64)
    slots, left = self._slots(keys), np.arange(len(keys))
    while left.size:
      at = slots[left]
      used = self._numbers[at] != _FREE
      hit = used & (self._keys[at] == keys[left])
      found[left[hit]] = self._numbers[at[hit]]
      left = left[used & ~hit]
      slots[left] = (slots[left] + 1) % len(self._keys)
    return found

  def _insert(
    self, keys: UInt64[np.ndarray, "n"], numbers: UInt32[np.ndarray, "n"]
  ) -> None:
    """Keys that are not there, each once."""
    self._num_keys += len(keys)
    if self._num_keys > _MAX_LOAD * len(self._keys):
      used = self._numbers != _FREE
      old_keys, old_numbers = self._keys[used], self._numbers[used]
      num_slots = len(self._keys)
      while self._num_keys > _MAX_LOAD * num_slots:
        num_slots *= 2
      self._allocate(num_slots)
      self._place(old_keys, old_numbers)
    self._place(keys, numbers)

  def _place(
    self, keys: UInt64[np.ndarray, "n"], numbers: UInt32[np.ndarray, "n"]
  ) -> None:
    slots, left = self._slots(keys), np.arange(len(keys))
    while left.size:
      at = slots[left]
      free = self._numbers[at] == _FREE
      # Of several that want one slot the last is written; who it was shows.
      self._keys[at[free]] = keys[left[free]]
      self._numbers[at[free]] = numbers[left[free]]
      placed = free & (self._keys[at] == keys[left])
      left = left[~placed]
      slots[left] = (slots[left] + 1) % len(self._keys)
