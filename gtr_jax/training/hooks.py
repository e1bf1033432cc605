"""What happens beside the updates: watching, logging, evaluating, saving."""

import collections
import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax

from gtr_jax.checkpoints import manager
from gtr_jax.training import state as state_lib
from gtr_jax.types import Metrics, Params

Hook = Callable[[int, state_lib.TrainState, Metrics], None]
Write = Callable[[int, str, Mapping[str, float]], None]
Evaluate = Callable[[Params], Mapping[str, float]]

# How many updates the host may run ahead of the numbers that it looks at.
LAG_STEPS = 2
# A summed loss (nats) below this in the first steps means that there is
# nothing to tell apart.
SUSPICIOUS_LOSS = 1e-3
FIRST_STEPS = 10
WATCHED = ("loss", "grad_norm", "param_norm")


class FiniteGuard:
  """Stops a run at the first loss, gradient or update that is not finite.

  The norm of the new parameters is among what it looks at: an update may spoil
  them while the loss and the gradient, which the old ones gave, are still fine.
  Looks at metrics `LAG_STEPS` updates late, so that no update waits for the
  host; `flush` looks at all that are left, and must be called before saving.

  Attributes:
    describe: number of an update → which examples its batch held.
    last_good: the step of the newest checkpoint, or None.
    warn: where a warning goes.
    first_step: number at which the run began, before any resumption.
    loss: the last one looked at; None before the first.
  """

  def __init__(
    self,
    describe: Callable[[int], str],
    last_good: Callable[[], int | None],
    warn: Callable[[str], None],
    first_step: int = 0,
  ):
    self._first_step = first_step
    self._describe = describe
    self._last_good = last_good
    self._warn = warn
    self._pending = collections.deque()
    self.loss: float | None = None
    self._tiny = 0

  def __call__(
    self, number: int, state: state_lib.TrainState, metrics: Metrics
  ) -> None:
    del state
    watched = {name: metrics[name] for name in WATCHED}
    self._pending.append((number, watched))
    if len(self._pending) > LAG_STEPS:
      self._look(*self._pending.popleft())

  def flush(self) -> None:
    """Raises FloatingPointError if any update so far was not finite."""
    while self._pending:
      self._look(*self._pending.popleft())

  def _look(self, number: int, metrics: Metrics) -> None:
    values = {name: float(value) for name, value in metrics.items()}
    bad = [f"{name} {v}" for name, v in values.items() if not math.isfinite(v)]
    if bad:
      good = self._last_good()
      raise FloatingPointError(
        f"step {number}: {', '.join(bad)}; the batch held"
        f" {self._describe(number)}; last good checkpoint:"
        f" {'none' if good is None else f'step {good}'}; lower LEARNING_RATE"
        " and start again to go on from there, or mend the examples and start"
        " in another MODEL_DIR with INITIAL_CHECKPOINT_PATH"
      )
    self.loss = values["loss"]
    if number <= self._first_step + FIRST_STEPS:
      self._alarm(self.loss)

  def _alarm(self, loss: float) -> None:
    self._tiny += loss < SUSPICIOUS_LOSS
    if self._tiny == FIRST_STEPS:
      self._warn(
        f"the loss was below {SUSPICIOUS_LOSS} in all of the first"
        f" {FIRST_STEPS} steps: there is nothing to learn; are the passages of"
        " a batch all alike or masked, is BATCH_SIZE 1, or does each query"
        " stand in its passage?"
      )


class MetricsLog:
  """Writes the metrics of every `period`-th update.

  The numbers are those of that one update, not a mean since the last line: a
  run that was killed and resumed writes the same lines.

  Attributes:
    write: where they go: (number, kind, values).
    period: updates between two lines.
    examples: queries an update.
  """

  def __init__(
    self,
    write: Write,
    period: int,
    examples: int,
    first_step: int,
    learning_rate: Callable[[int], Any],
  ):
    self._write = write
    self._period = period
    self._examples = examples
    self._learning_rate = learning_rate
    self._start = self._last = (first_step, time.monotonic())
    self._number = first_step
    self._rate: float | None = None

  def __call__(
    self, number: int, state: state_lib.TrainState, metrics: Metrics
  ) -> None:
    del state
    self._number = number
    if number % self._period:
      return
    values = {k: float(v) for k, v in jax.device_get(metrics).items()}
    rate = self._rate = self._rate_since(self._last)
    self._last = (number, time.monotonic())
    self._write(
      number,
      "train",
      {
        **values,
        "learning_rate": float(self._learning_rate(number - 1)),
        "examples_per_second": rate,
      },
    )

  @property
  def examples_per_second(self) -> float:
    """Between the last two lines; of the whole run if it wrote no line."""
    return self._rate_since(self._start) if self._rate is None else self._rate

  def _rate_since(self, then: tuple[int, float]) -> float:
    number, seconds = then
    passed = max(time.monotonic() - seconds, 1e-9)
    return (self._number - number) * self._examples / passed


@dataclasses.dataclass
class Progress:
  """What the evaluations said so far; saved with each checkpoint.

  Attributes:
    best: best value of the measure.
    best_step: where it was reached.
    without_gain: evaluations since then.
  """

  best: float | None = None
  best_step: int | None = None
  without_gain: int = 0


class Keeper:
  """Evaluates and saves, each in its period and after the last update.

  An evaluated step is saved, so that the best one is there to be used.

  Attributes:
    checkpoints: where states go.
    position: the place in the data after the last update.
    guard: asked before each save, so that no state with NaN is kept.
    evaluate: parameters → measures, or None.
    progress: what the evaluations said so far.
  """

  def __init__(
    self,
    checkpoints: manager.Checkpoints,
    position: Callable[[], Mapping[str, Any]],
    guard: FiniteGuard,
    write: Write,
    checkpoint_period: int,
    evaluate: Evaluate | None,
    eval_period: int,
    last_step: int,
    progress: Progress,
    saved_step: int | None,
  ):
    self._checkpoints = checkpoints
    self._position = position
    self._guard = guard
    self._write = write
    self._checkpoint_period = checkpoint_period
    self._evaluate = evaluate
    self._eval_period = eval_period
    self._last_step = last_step
    self.progress = progress
    self.saved_step = saved_step

  def __call__(
    self, number: int, state: state_lib.TrainState, metrics: Metrics
  ) -> None:
    del metrics
    is_last = number == self._last_step
    if self._evaluate and (is_last or number % self._eval_period == 0):
      self.save(number, state, evaluate=True)
    elif is_last or number % self._checkpoint_period == 0:
      self.save(number, state)

  def save(
    self, number: int, state: state_lib.TrainState, evaluate: bool = False
  ) -> None:
    """Saves a state once, evaluated if asked."""
    if self.saved_step == number:
      return
    self._guard.flush()
    measures = None
    if evaluate and self._evaluate:
      measures = dict(self._evaluate(state.params))
      self._note(number, measures[self._checkpoints.measure])
      self._write(number, "eval", measures)
    progress = {
      "data": dict(self._position()),
      "evaluations": dataclasses.asdict(self.progress),
    }
    trainer = {
      "opt_state": state.opt_state,
      "rng": state.rng,
      "step": state.step,
    }
    self._checkpoints.save(number, state.params, trainer, progress, measures)
    self.saved_step = number

  def _note(self, number: int, value: float) -> None:
    progress = self.progress
    if progress.best is None or value > progress.best:
      progress.best, progress.best_step = value, number
      progress.without_gain = 0
    else:
      progress.without_gain += 1
