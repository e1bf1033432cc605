"""Watching, logging, evaluating, saving: with hand-made numbers."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from gtr_jax.training import hooks

STATE: Any = None  # These hooks do not look at it.


def metrics(loss=1.0, grad_norm=1.0, param_norm=1.0):
  values = {"loss": loss, "grad_norm": grad_norm, "param_norm": param_norm}
  return {name: jnp.float32(value) for name, value in values.items()}


def make_guard(warnings=None):
  return hooks.FiniteGuard(
    describe=lambda number: f"the batch of step {number}",
    last_good=lambda: 3,
    warn=(warnings if warnings is not None else []).append,
  )


@pytest.mark.parametrize(
  "bad",
  [
    {"loss": np.nan},
    {"loss": np.inf},
    {"grad_norm": np.nan},
    {"param_norm": np.inf},
  ],
  ids=str,
)
def test_the_first_bad_step_is_named(bad):
  guard = make_guard()
  guard(1, STATE, metrics())
  guard(2, STATE, metrics(**bad))
  guard(3, STATE, metrics(np.nan))
  with pytest.raises(FloatingPointError) as caught:
    guard(4, STATE, metrics(np.nan))
  text = str(caught.value)
  assert text.startswith("step 2: ")
  assert "the batch of step 2" in text and "checkpoint: step 3" in text


def test_nothing_is_saved_after_a_bad_step():
  guard = make_guard()
  guard(1, STATE, metrics(np.nan))
  with pytest.raises(FloatingPointError, match="step 1"):
    guard.flush()


@pytest.mark.parametrize(("losses", "num_warnings"), [(0.0, 1), (0.5, 0)])
def test_a_loss_of_nothing_from_the_start_raises_the_alarm(
  losses, num_warnings
):
  warnings = []
  guard = make_guard(warnings)
  for number in range(1, 40):
    guard(number, STATE, metrics(losses))
  guard.flush()
  assert len(warnings) == num_warnings


def test_a_loss_that_falls_to_nothing_later_is_fine():
  warnings = []
  guard = make_guard(warnings)
  for number in range(1, 40):
    guard(number, STATE, metrics(1.0 if number < 3 else 0.0))
  guard.flush()
  assert not warnings


def test_log_writes_every_period_with_rate_and_numbers_of_that_step():
  written = []
  log = hooks.MetricsLog(
    lambda *record: written.append(record),
    period=2,
    examples=8,
    first_step=0,
    learning_rate=lambda step: 0.1 * step,
  )
  for number in range(1, 6):
    log(number, STATE, metrics(loss=number))
  assert [(number, kind) for number, kind, _ in written] == [
    (2, "train"),
    (4, "train"),
  ]
  values = written[1][2]
  assert values["loss"] == 4.0
  # Update 4 used the rate of step 3: the first update is that of step 0.
  np.testing.assert_allclose(values["learning_rate"], 0.3)
  assert values["examples_per_second"] > 0


def test_a_run_too_short_for_a_line_has_a_rate():
  log = hooks.MetricsLog(
    lambda *record: None,
    period=100,
    examples=8,
    first_step=0,
    learning_rate=lambda step: 0.1,
  )
  assert log.examples_per_second == 0.0
  for number in (1, 2):
    log(number, STATE, metrics())
  assert log.examples_per_second > 0
