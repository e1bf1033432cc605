"""SIGTERM and SIGINT: save after a step, then end well."""

import contextlib
import dataclasses
import itertools
import signal
from collections.abc import Callable, Iterator

import jax
from jax.experimental import multihost_utils

Say = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Stop:
  """Whether a run was asked to stop.

  Attributes:
    is_due: asked before every update, on every process: whether to stop there.
    came: whether a signal came.
  """

  is_due: Callable[[], bool]
  came: Callable[[], bool]


@contextlib.contextmanager
def watched(say: Say, first_step: int) -> Iterator[Stop]:
  """Listens to the signals; of several processes one may get it, all stop.

  A second SIGINT interrupts at once.

  Args:
    say: takes lines for the user.
    first_step: number of updates made before the first question.
  """
  listening = (
    _alone(say) if jax.process_count() == 1 else _together(say, first_step)
  )
  with listening as stop:
    yield stop


@contextlib.contextmanager
def _alone(say: Say) -> Iterator[Stop]:
  received: list[int] = []

  def on_signal(number, frame):
    if received and number == signal.SIGINT:
      raise KeyboardInterrupt
    received.append(number)
    name = signal.Signals(number).name
    say(f"{name}: saving after this step, then ending")

  def came() -> bool:
    return bool(received)

  with _handled({signal.SIGTERM: on_signal, signal.SIGINT: on_signal}):
    yield Stop(came, came)


@contextlib.contextmanager
def _together(say: Say, first_step: int) -> Iterator[Stop]:
  """JAX's own handler of SIGTERM tells all processes and finds a common step.

  The step is one that no process has begun, so nobody waits for an answer.
  """
  steps = itertools.count(first_step)
  interrupts: list[int] = []
  stopped: list[int] = []

  def on_interrupt(number, frame):
    if interrupts:
      raise KeyboardInterrupt
    interrupts.append(number)
    signal.raise_signal(signal.SIGTERM)

  def is_due() -> bool:
    step = next(steps)
    if not stopped and multihost_utils.reached_preemption_sync_point(step):
      stopped.append(step)
      say(f"SIGTERM came to a process: saving step {step:,}, then all end")
    return bool(stopped)

  with _handled({signal.SIGINT: on_interrupt}):
    yield Stop(is_due, lambda: bool(stopped))


@contextlib.contextmanager
def _handled(handlers: dict[signal.Signals, Callable]) -> Iterator[None]:
  before = {}
  with contextlib.suppress(ValueError):  # Not in the main thread: no handlers.
    for number, handler in handlers.items():
      before[number] = signal.signal(number, handler)
  try:
    yield
  finally:
    for number, handler in before.items():
      signal.signal(number, handler)
