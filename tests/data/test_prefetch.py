import gc
import threading
from dataclasses import dataclass, field

import numpy as np
import pytest

from gtr_jax import types
from gtr_jax.data import prefetch


@dataclass
class Counter:
  """Counts up; fails at a number if told so; says when it has made one."""

  fails_at: int = -1
  number: int = 0
  made: threading.Semaphore = field(
    default_factory=lambda: threading.Semaphore(0)
  )

  def __next__(self):
    if self.number == self.fails_at:
      raise RuntimeError(f"no batch {self.number}")
    self.number += 1
    self.made.release()
    return {"number": np.array(self.number - 1)}

  def position(self):
    return {"batches": self.number}

  def restore(self, position):
    self.number = position["batches"]


def threads():
  return [t for t in threading.enumerate() if t.name == "prefetch"]


@pytest.fixture(autouse=True)
def no_thread_is_left():
  yield
  assert not threads()


def take(batches, count):
  return [int(next(batches)["number"]) for _ in range(count)]


def test_the_same_batches_in_the_same_order():
  with prefetch.prefetch(Counter(), 3) as batches:
    as_protocol: types.Batches = batches
    assert take(as_protocol, 50) == list(range(50))


def test_batches_are_made_ahead_but_no_more_than_depth():
  source = Counter()
  with prefetch.prefetch(source, 3) as batches:
    assert take(batches, 1) == [0]
    for _ in range(4):  # One handed out, three ahead.
      assert source.made.acquire(timeout=60)
    assert not source.made.acquire(timeout=0.05)


def test_the_position_is_that_of_the_last_batch_handed_out():
  source = Counter()
  with prefetch.prefetch(source, 2) as batches:
    assert batches.position() == {"batches": 0}
    for number in range(1, 10):
      next(batches)
      assert batches.position() == {"batches": number}


def test_restore_goes_anywhere():
  with prefetch.prefetch(Counter(), 4) as batches:
    take(batches, 5)
    batches.restore({"batches": 2})
    assert batches.position() == {"batches": 2}
    assert take(batches, 3) == [2, 3, 4]
    batches.restore({"batches": 100})
    assert take(batches, 2) == [100, 101]


def test_an_error_comes_in_its_place_and_stays():
  with prefetch.prefetch(Counter(fails_at=3), 8) as batches:
    assert take(batches, 3) == [0, 1, 2]
    for _ in range(2):
      with pytest.raises(RuntimeError, match="no batch 3"):
        next(batches)
    assert batches.position() == {"batches": 3}


def test_close_gives_the_stream_back_where_it_was():
  source = Counter()
  batches = prefetch.prefetch(source, 4)
  take(batches, 2)
  batches.close()
  assert source.position() == {"batches": 2}
  batches.close()
  assert take(batches, 2) == [2, 3]
  batches.close()


def test_a_forgotten_stream_ends_its_thread():
  batches = prefetch.prefetch(Counter(), 2)
  next(batches)
  assert threads()
  del batches
  gc.collect()
  assert not threads()


def test_depth_is_at_least_one():
  with pytest.raises(ValueError, match="depth is 0"):
    prefetch.prefetch(Counter(), 0)
