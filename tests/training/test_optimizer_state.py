from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gtr_jax.checkpoints import t5x
from gtr_jax.training import optimizer_state, optimizers, schedules

PARAMS = {"encoder": {"kernel": np.ones((2, 3), np.float32)}}
MOMENTS = {
  "encoder/kernel": {
    "m": np.full((2, 3), 4, np.float32),
    "v": np.full((2, 3), 5, np.float32),
    "v_row": np.zeros(1, np.float32),
    "v_col": np.zeros(1, np.float32),
  },
  "decoder/kernel": {},
}
SCHEDULE = schedules.linear(
  end_step=1_000_000, warmup_steps=0, start_step=999_900
)


def checkpoint(moments):
  return t5x.T5XCheckpoint(999_900, {}, moments)


def first_update(optimizer, state):
  grads = jax.tree.map(np.ones_like, PARAMS)
  updates, _ = jax.jit(optimizer.update)(grads, state, PARAMS)
  return float(updates["encoder"]["kernel"][0, 0])


@pytest.mark.parametrize(
  "make", [optimizers.adamw, optimizers.sgd, optimizers.adafactor]
)
def test_training_from_a_late_step_has_that_steps_rate(make):
  """Half way down, half as far; the moments start afresh all the same."""
  optimizer = make(SCHEDULE)
  state = optimizer.init(PARAMS)
  start = first_update(optimizer, optimizer_state.at_step(state, 999_900))
  middle = first_update(optimizer, optimizer_state.at_step(state, 999_950))
  end = first_update(optimizer, optimizer_state.at_step(state, 1_000_000))
  np.testing.assert_allclose(middle, start / 2, rtol=1e-4)
  assert start < 0 and end == 0


def test_at_step_works_under_jit_and_keeps_the_kind():
  optimizer = optimizers.adamw(SCHEDULE, max_gradient_norm=1.0)
  state = optimizer.init(PARAMS)
  moved = jax.jit(optimizer_state.at_step)(state, jnp.int32(7))
  same = jax.tree.map(lambda x, y: (x.dtype, x.shape) == (y.dtype, y.shape),
                      state, moved)  # fmt: skip
  assert all(jax.tree.leaves(same))
  assert sorted(int(x) for x in jax.tree.leaves(moved) if not x.ndim) == [0, 7]


def test_from_t5x_fills_moments_and_counts():
  optimizer = optimizers.adafactor(SCHEDULE, momentum=0.9)
  state = optimizer_state.from_t5x(optimizer.init(PARAMS), checkpoint(MOMENTS))
  factored = only(state, optax.FactoredState)
  ema = only(state, optax.EmaState)
  schedule = only(state, optax.ScaleByScheduleState)
  assert factored.count == ema.count == schedule.count == 999_900
  np.testing.assert_array_equal(factored.v["encoder"]["kernel"], 5.0)
  np.testing.assert_array_equal(ema.ema["encoder"]["kernel"], 4.0)


def only(state: Any, kind: type) -> Any:
  """The one part of this kind."""
  is_kind = lambda x: isinstance(x, kind)
  parts = jax.tree.leaves(state, is_leaf=is_kind)
  [part] = filter(is_kind, parts)
  return part


@pytest.mark.parametrize(
  "optimizer, moments, match",
  [
    (optimizers.adamw(1e-3), MOMENTS, "is another one"),
    (optimizers.adafactor(1e-3), {}, "no moments for encoder/kernel"),
    (
      optimizers.adafactor(1e-3),
      {"encoder/kernel": MOMENTS["encoder/kernel"] | {"v": np.ones((3, 2))}},
      r"v of encoder/kernel is \(3, 2\), due is \(2, 3\)",
    ),
    (
      optimizers.adafactor(1e-3, min_dim_size_to_factor=2),
      MOMENTS,
      "due is",
    ),
    (optimizers.adafactor(1e-3), None, "holds no Adafactor state"),
  ],
)
def test_what_does_not_fit_is_refused(optimizer, moments, match):
  with pytest.raises(ValueError, match=match):
    optimizer_state.from_t5x(optimizer.init(PARAMS), checkpoint(moments))
