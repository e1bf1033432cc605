import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gtr_jax.training import schedules

# Warm-up 999,900 to 1,000,900, end at 1,019,900: GTR's second stage from T5.
T5_STEP = 999_900
FROM_T5 = {
  "peak": 1e-3,
  "warmup_steps": 1000,
  "start_step": T5_STEP,
  "end_step": T5_STEP + 20_000,
}
DECAYS = [schedules.linear, schedules.cosine, schedules.rsqrt]


def rate(schedule, step):
  """Under jit, from an int32 step, as in training."""
  value = jax.jit(schedule)(jnp.int32(step))
  assert value.dtype == jnp.float32 and value.shape == ()
  return float(value)


@pytest.mark.parametrize("decay", DECAYS)
def test_edges_are_exact(decay):
  schedule = decay(
    end_step=1100, peak=1e-3, warmup_steps=100, start_step=0, end_value=1e-5
  )
  assert rate(schedule, 0) == 0
  np.testing.assert_allclose(rate(schedule, 1), 1e-5, rtol=1e-6)
  np.testing.assert_allclose(rate(schedule, 50), 5e-4, rtol=1e-6)
  np.testing.assert_allclose(rate(schedule, 100), 1e-3, rtol=1e-6)
  assert rate(schedule, 101) < rate(schedule, 100)
  for step in (1100, 1101, 10_000_000):
    assert rate(schedule, step) == np.float32(1e-5)


@pytest.mark.parametrize("decay", DECAYS)
def test_from_a_t5_checkpoint_only_the_numbering_moves(decay):
  here = decay(end_step=20_000, peak=1e-3, warmup_steps=1000, start_step=0)
  there = decay(**FROM_T5)
  for step in (0, 1, 500, 999, 1000, 1001, 10_000, 19_999, 20_000, 50_000):
    assert rate(there, T5_STEP + step) == rate(here, step)


@pytest.mark.parametrize("decay", DECAYS)
def test_before_its_start_a_schedule_gives_nothing(decay):
  assert rate(decay(**FROM_T5), 0) == 0
  assert rate(decay(**FROM_T5), T5_STEP - 1) == 0


def test_float32_does_not_blur_late_steps():
  """Above 2**24 a float32 step counts in twos and more."""
  start = 2**27
  schedule = schedules.linear(start + 10, 1.0, 0, start)
  actual = [rate(schedule, start + i) for i in range(11)]
  np.testing.assert_allclose(actual, np.arange(10, -1, -1) / 10, atol=1e-7)


def test_linear_halfway_is_half():
  schedule = schedules.linear(**FROM_T5, end_value=2e-4)
  middle = T5_STEP + 1000 + 9500
  np.testing.assert_allclose(rate(schedule, middle), 6e-4, rtol=1e-6)


def test_gtr_recipe():
  """Peak 1e-3 after 1000 steps, then a line to 0 at TRAIN_STEPS."""
  schedule = schedules.linear(end_step=800_000)
  assert rate(schedule, 1000) == np.float32(1e-3)
  np.testing.assert_allclose(
    rate(schedule, 400_500), 1e-3 * 399_500 / 799_000, rtol=1e-6
  )
  assert rate(schedule, 800_000) == 0


def test_cosine_is_its_formula():
  schedule = schedules.cosine(**FROM_T5, end_value=1e-4)
  for step in (1000, 3000, 10_500, 15_000, 19_999):
    angle = math.pi * (step - 1000) / 19_000
    expected = 1e-4 + 9e-4 * 0.5 * (1 + math.cos(angle))
    np.testing.assert_allclose(
      rate(schedule, T5_STEP + step), expected, rtol=1e-5
    )


def test_rsqrt_without_end_is_t5s():
  schedule = schedules.rsqrt(peak=0.01, warmup_steps=10_000)
  for step in (5000, 10_000, 40_000, 1_000_000):
    expected = 0.01 * min(step / 1e4, math.sqrt(1e4 / max(step, 1e4)))
    np.testing.assert_allclose(rate(schedule, step), expected, rtol=1e-6)


def test_rsqrt_with_an_end_keeps_the_curve():
  """Its values are those of 1 / sqrt(n), shifted and scaled."""
  schedule = schedules.rsqrt(10_000, 1.0, 100, 0, 0.1)
  steps = np.array([100, 200, 400, 2500, 9999, 10_000])
  curve = np.sqrt(100 / steps)
  expected = 0.1 + 0.9 * (curve - 0.1) / (1 - 0.1)
  actual = [rate(schedule, step) for step in steps]
  np.testing.assert_allclose(actual, expected, rtol=2e-6)


def test_constant_stays():
  schedule = schedules.constant(2e-4, warmup_steps=10, start_step=100)
  actual = [rate(schedule, step) for step in (100, 105, 110, 10**6)]
  np.testing.assert_allclose(actual, [0, 1e-4, 2e-4, 2e-4], rtol=1e-6)


@pytest.mark.parametrize("decay", DECAYS)
def test_without_warmup_the_peak_comes_first(decay):
  if decay is schedules.rsqrt:
    with pytest.raises(ValueError, match="time scale"):
      decay(end_step=10, warmup_steps=0)
  else:
    assert rate(decay(end_step=10, peak=0.5, warmup_steps=0), 0) == 0.5


@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize(
  "settings",
  [
    {"end_step": 20_000, "start_step": T5_STEP},  # a relative end step
    {"end_step": -1},
    {"end_step": 5000, "warmup_steps": -1},
    {"end_step": 5000, "start_step": -1},
    {"end_step": 5000.0},
    {"end_step": 5000, "peak": 0.0},
    {"end_step": 5000, "peak": math.nan},
    {"end_step": 5000, "end_value": -1e-9},
  ],
)
def test_what_makes_no_sense_is_refused(decay, settings):
  with pytest.raises(ValueError, match="learning rate"):
    decay(**settings)


def test_rsqrt_end_value_needs_an_end():
  with pytest.raises(ValueError, match="needs an end_step"):
    schedules.rsqrt(end_value=1e-5)


def test_constant_refuses_too():
  with pytest.raises(ValueError, match="warmup_steps is -1"):
    schedules.constant(warmup_steps=-1)


@pytest.mark.parametrize(
  "decay", [schedules.linear, schedules.cosine, schedules.rsqrt]
)
def test_a_trial_that_ends_within_its_warm_up_only_warms_up(decay):
  schedule = decay(end_step=100, peak=1.0, warmup_steps=1000)
  rates = [rate(schedule, step) for step in (0, 50, 99, 100, 5000)]
  np.testing.assert_allclose(rates, [0.0, 0.05, 0.099, 0.0, 0.0], rtol=1e-4)


def test_a_run_of_no_steps_has_a_schedule():
  assert rate(schedules.linear(end_step=0, warmup_steps=0), 0) == 0.0
