"""Signs of other processes in the environment."""

import argparse

import jax
import pytest

from gtr_jax.run import joining

SIGNS = (
  "SLURM_STEP_NUM_TASKS",
  "OMPI_COMM_WORLD_SIZE",
  "TPU_PROCESS_ADDRESSES",
  "TPU_WORKER_HOSTNAMES",
)


@pytest.fixture
def joins(monkeypatch):
  """Whether a process would join others; nothing is really joined."""
  calls = []
  monkeypatch.setattr(
    jax.distributed, "initialize", lambda *args, **_: calls.append(args)
  )
  monkeypatch.setattr(joining.runtime_log, "relay", lambda *_: None)
  monkeypatch.setattr(joining.glob, "glob", lambda _: [])

  def joined(multiprocess="auto", **environment):
    for name in SIGNS:
      monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
      monkeypatch.setenv(name, value)
    calls.clear()
    args = argparse.Namespace(
      coordinator_address=None,
      process_count=None,
      process_index=None,
      multiprocess=multiprocess,
      silence_seconds=30,
      debug=False,
    )
    assert joining.join(args) == bool(calls)
    return bool(calls)

  return joined


def test_a_process_alone_joins_nobody(joins):
  assert not joins()
  assert not joins(SLURM_STEP_NUM_TASKS="1")
  assert not joins(TPU_WORKER_HOSTNAMES="localhost")


@pytest.mark.parametrize(
  ("name", "value"),
  list(zip(SIGNS, ("2", "4", "a:1,b:1", "a,b"), strict=True)),
)
def test_signs_of_others_are_followed_unless_told_otherwise(joins, name, value):
  assert joins(**{name: value})
  assert not joins("never", **{name: value})


def test_always_asks_without_a_sign(joins):
  assert joins("always")
