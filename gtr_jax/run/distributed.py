"""Several processes that train as one: they join, take turns, and end together.

JAX's coordination service, which runs in process 0, tells who is there.  A
process that fails leaves a line for the others there, so that they end with it
instead of waiting; a process that is killed is missed after a while.
"""

import argparse
import contextlib
import os
import pathlib
import secrets
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from gtr_jax.run import cli, joining, runtime_log

_LISTEN_SECONDS = 1.0
# For this process to end by the same error as the one that it heard of.
_OWN_END_SECONDS = 3.0
_DAYS = 7 * 24 * 3600 * 1000  # Milliseconds: tokenising may take its time.
_FAILED = "gtr/failed"
_HEARD = "gtr/heard/"
_SHARED_FILE = ".processes"


@contextlib.contextmanager
def joined(args: argparse.Namespace) -> Iterator[None]:
  """Joins the other processes, if there are any, for the length of the block.

  Must come before anything touches a device.  An error in the block is told to
  the other processes.

  Raises:
    ValueError: flags that do not fit each other.
  """
  if not joining.join(args):
    yield
    return
  stopped = threading.Event()
  threading.Thread(target=_listen, args=(stopped,), daemon=True).start()
  try:
    yield
  except BaseException as error:
    if _is_of_another(error):
      # Who was lost is known a little later; that ends this process.
      time.sleep(args.silence_seconds + 15)
    stopped.set()
    _tell(error)
    raise
  stopped.set()
  jax.distributed.shutdown()  # Waits for the others.


@contextlib.contextmanager
def exit_stack() -> Iterator[contextlib.ExitStack]:
  """An ExitStack, left as it is where a process fails beside others.

  Closing waits for the other processes, which wait for this one.  A loss that
  is no number stops all of them at the same step, so they can close together.
  """
  with contextlib.ExitStack() as stack:
    try:
      yield stack
    except FloatingPointError:
      raise
    except BaseException:
      if jax.process_count() > 1:
        stack.pop_all()
      raise


def end(status: int) -> None:
  """Ends this process at once if it failed: nobody waits for it any more."""
  client = _client()
  if client is None or status == 0:
    return
  sys.stdout.flush()
  sys.stderr.flush()
  _say_heard(client)
  if jax.process_index() == 0:  # With it goes the place where others look.
    deadline = time.monotonic() + 3 * _OWN_END_SECONDS
    with contextlib.suppress(Exception):
      while time.monotonic() < deadline:
        if len(client.key_value_dir_get(_HEARD)) >= jax.process_count():
          break
        time.sleep(0.05)
  os._exit(status)


@contextlib.contextmanager
def first_alone(name: str) -> Iterator[None]:
  """Process 0 goes through the block first, then all others do.

  Args:
    name: another one for every block.
  """
  client, is_first = _client(), jax.process_index() == 0
  if client is not None and not is_first:
    client.wait_at_barrier(f"gtr/{name}", _DAYS)
  yield
  if client is not None and is_first:
    client.wait_at_barrier(f"gtr/{name}", _DAYS)


def from_first(values: Mapping[str, float]) -> dict[str, float]:
  """The values that process 0 has, to the bit, on all processes."""
  if jax.process_count() == 1:
    return dict(values)
  own = np.array(list(values.values()), np.float64)
  # As bytes, since JAX has no float64.
  first = multihost_utils.broadcast_one_to_all(own.view(np.uint8))
  numbers = np.asarray(first).view(np.float64)
  return dict(zip(values, map(float, numbers), strict=True))


def check_shared(directory: pathlib.Path) -> None:
  """Makes a directory and sees to it that all processes mean the same one.

  Raises:
    ValueError: it is not on a file system that the processes share.
  """
  client, key = _client(), "gtr/shared"
  if client is None:
    directory.mkdir(parents=True, exist_ok=True)
    return
  if jax.process_index() == 0:
    token = secrets.token_hex(8)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / _SHARED_FILE).write_text(token)
    client.key_value_set(key, token)
    return
  token = client.blocking_key_value_get(key, _DAYS)
  for _ in range(20):  # A network file system may show a file late.
    with contextlib.suppress(OSError):
      if (directory / _SHARED_FILE).read_text() == token:
        return
    time.sleep(0.5)
  raise ValueError(
    f"MODEL_DIR {directory} is not the same folder for process 0 and process"
    f" {jax.process_index()}: all write checkpoints there; put it on a file"
    " system that they share"
  )


def _client() -> Any:
  """JAX's client of the coordination service; None for a process alone.

  JAX has no public name for it; Orbax takes it from here too.
  """
  from jax._src import distributed

  return distributed.global_state.client


def _is_of_another(error: BaseException) -> bool:
  """Whether an error looks like the end of another process."""
  own = (ValueError, OSError, FloatingPointError, KeyboardInterrupt, SystemExit)
  return "Gloo" in str(error) or not isinstance(error, own)


def _tell(error: BaseException) -> None:
  """Leaves a line for the others; the first process that fails is heard."""
  name = f"process {jax.process_index()} of {jax.process_count()}"
  status, line = 130, "interrupted"
  if isinstance(error, Exception):
    status, line = 2 if cli.is_users(error) else 1, cli.one_line(error)
  with contextlib.suppress(Exception):
    _client().key_value_set(_FAILED, f"{status} {name} ended: {line}")


def _listen(stopped: threading.Event) -> None:
  """Ends this process soon after another one failed, with its status."""
  client = _client()
  while not stopped.wait(_LISTEN_SECONDS):
    try:
      failed = client.key_value_try_get(_FAILED)
    except Exception as error:
      if "NOT_FOUND" in str(error):
        continue
      return  # The service is gone, and the runtime ends this process.
    if stopped.wait(_OWN_END_SECONDS):
      return
    status, _, line = failed.partition(" ")
    what_to_do = runtime_log.ENDS if status == "2" else runtime_log.GO_ON
    print(f"gtr train: {line}; {what_to_do}", file=sys.stderr, flush=True)
    _say_heard(client)
    os._exit(int(status))


def _say_heard(client: Any) -> None:
  """Tells process 0 that it may go: this process has said what it had to."""
  with contextlib.suppress(Exception):
    client.key_value_set(f"{_HEARD}{jax.process_index()}", "")
