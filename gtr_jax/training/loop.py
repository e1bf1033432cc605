"""The loop: batches in, updates, hooks."""

from collections.abc import Callable, Iterator, Sequence

from gtr_jax.training import hooks as hooks_lib
from gtr_jax.training import state as state_lib
from gtr_jax.training import step as step_lib
from gtr_jax.types import Batch


def train(
  state: state_lib.TrainState,
  batches: Iterator[Sequence[Batch]],
  step: step_lib.Step,
  last_step: int,
  hooks: Sequence[hooks_lib.Hook] = (),
  stop: Callable[[], bool] = lambda: False,
) -> state_lib.TrainState:
  """Updates until `last_step` is reached or `stop()` is true.

  Args:
    state: where to go on from.
    batches: the global batches of each update, already on the devices.
    step: one update; a different method of training is a different step.
    last_step: number of the last update.
    hooks: called after each update, in order, with its number, the new state
      and the metrics, which are still on their way from the devices.
    stop: asked before each update.

  Returns:
    The last state.
  """
  number = int(state.step)
  while number < last_step and not stop():
    state, metrics = step(state, next(batches))
    number += 1
    for hook in hooks:
      hook(number, state, metrics)
  return state
