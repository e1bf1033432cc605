"""One holds a lock, the others are refused or wait."""

import threading

import pytest

from gtr_jax.files import lock


def test_a_second_one_is_refused_until_the_first_lets_go(tmp_path):
  path = tmp_path / ".lock"
  with (
    lock.held(path, "taken"),
    pytest.raises(ValueError, match="taken: wait"),
    lock.held(path, "taken: wait"),
  ):
    pytest.fail("two hold it")
  with lock.held(path, "taken"):
    pass


def test_without_a_refusal_it_waits(tmp_path):
  path, events = tmp_path / ".lock", []

  def second():
    with lock.held(path):
      events.append("second")

  with lock.held(path):
    thread = threading.Thread(target=second)
    thread.start()
    thread.join(timeout=0.05)
    events.append("first")
  thread.join(timeout=60)
  assert events == ["first", "second"]


def test_where_there_are_no_locks_nobody_is_kept_out(tmp_path, monkeypatch):
  def flock(stream, mode):
    raise OSError(95, "Operation not supported")

  monkeypatch.setattr("fcntl.flock", flock)
  with lock.held(tmp_path / ".lock", "taken"):
    assert (tmp_path / ".lock").is_file()
