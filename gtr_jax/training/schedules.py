"""Learning rates by step: linear warm-up, then a decay that ends at a step.

The decay is given by its end step and never by a slope: a slope that does not
fit the number of steps either never decays or decays at once, in silence.

`start_step` is where the numbering of this training starts, such as 999_900
for a run that goes on from a T5 checkpoint.  Warm-up counts from there; the end
step is an absolute step, as TRAIN_STEPS is.  At `start_step` the learning rate
is 0 if there is a warm-up, at `start_step + warmup_steps` it is the peak, from
`end_step` on it is the end value.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

# Share of the way from the end of warm-up to the end step -> share of the way
# from the end value (0) to the peak (1).
_Decay = Callable[[Float[Array, ""]], Float[Array, ""]]


def constant(
  peak: float = 1e-3, warmup_steps: int = 0, start_step: int = 0
) -> optax.Schedule:
  """Warm-up, then the peak for ever."""
  _check_counts(warmup_steps=warmup_steps, start_step=start_step)
  _check_rates(peak, 0.0)

  def schedule(step: ArrayLike) -> Float[Array, ""]:
    since_start = _steps_since(step, start_step)
    return peak * _warmup(since_start, warmup_steps)

  return schedule


def linear(
  end_step: int,
  peak: float = 1e-3,
  warmup_steps: int = 1000,
  start_step: int = 0,
  end_value: float = 0.0,
) -> optax.Schedule:
  """Warm-up, then a straight line to `end_value` at `end_step`: GTR's recipe.

  Raises:
    ValueError: a negative number, or an end step before the start.

  Source: Ni et al., 2021, section 4.2 (https://arxiv.org/abs/2112.07899): peak
    1e-3, linear decay; the warm-up of 1000 steps is in their code.
  """
  return _decaying(
    lambda share: 1.0 - share,
    end_step,
    peak,
    warmup_steps,
    start_step,
    end_value,
  )


def cosine(
  end_step: int,
  peak: float = 1e-3,
  warmup_steps: int = 1000,
  start_step: int = 0,
  end_value: float = 0.0,
) -> optax.Schedule:
  """Warm-up, then half a cosine wave down to `end_value` at `end_step`.

  Raises:
    ValueError: a negative number, or an end step before the start.

  Source: Loshchilov & Hutter, 2017, eq. 5 (https://arxiv.org/abs/1608.03983),
    without restarts.
  """
  return _decaying(
    lambda share: 0.5 * (1.0 + jnp.cos(jnp.pi * share)),
    end_step,
    peak,
    warmup_steps,
    start_step,
    end_value,
  )


def rsqrt(
  end_step: int | None = None,
  peak: float = 1e-3,
  warmup_steps: int = 1000,
  start_step: int = 0,
  end_value: float = 0.0,
) -> optax.Schedule:
  """Warm-up, then decay with the inverse square root of the step.

  Without an end step this is T5's schedule, peak * sqrt(warmup / n) n steps
  after the start, which never ends.  With an end step the curve is stretched
  down so that it meets `end_value` there.

  Args:
    warmup_steps: also the time scale of the decay, so at least 1.

  Raises:
    ValueError: a negative number, no warm-up, an end step before the start, or
      an end value without an end step.

  Source: Raffel et al., 2020, section 3.1.2 (https://arxiv.org/abs/1910.10683).
  """
  if warmup_steps == 0:
    raise ValueError("rsqrt decay: warmup_steps is its time scale, at least 1")
  if end_step is not None:

    def share_left(share: Float[Array, ""]) -> Float[Array, ""]:
      num_steps = max(end_step - start_step, warmup_steps + 1)
      last = math.sqrt(warmup_steps / num_steps)
      since_start = warmup_steps + share * (num_steps - warmup_steps)
      root = jnp.sqrt(warmup_steps / since_start)
      return (root - last) / (1.0 - last)

    return _decaying(
      share_left, end_step, peak, warmup_steps, start_step, end_value
    )
  if end_value:
    raise ValueError(f"rsqrt decay: end_value {end_value} needs an end_step")
  _check_counts(warmup_steps=warmup_steps, start_step=start_step)
  _check_rates(peak, end_value)

  def schedule(step: ArrayLike) -> Float[Array, ""]:
    since_start = _steps_since(step, start_step)
    decay = jnp.sqrt(warmup_steps / jnp.maximum(since_start, warmup_steps))
    return peak * decay * _warmup(since_start, warmup_steps)

  return schedule


def _decaying(
  share_left: _Decay,
  end_step: int,
  peak: float,
  warmup_steps: int,
  start_step: int,
  end_value: float,
) -> optax.Schedule:
  """Warm-up, then from the peak to `end_value` along `share_left`."""
  _check_counts(
    end_step=end_step, warmup_steps=warmup_steps, start_step=start_step
  )
  _check_rates(peak, end_value)
  if end_step < start_step:
    raise ValueError(
      f"learning rate: end_step {end_step} is before start_step {start_step};"
      " TRAIN_STEPS counts on from INITIAL_STEP"
    )
  num_steps = end_step - start_step
  # A run that ends within its warm-up, as a trial of two steps, has no decay.
  num_decay_steps = max(num_steps - warmup_steps, 1)

  def schedule(step: ArrayLike) -> Float[Array, ""]:
    since_start = _steps_since(step, start_step)
    share = (since_start - warmup_steps) / num_decay_steps
    share = jnp.clip(share, 0.0, 1.0)
    decayed = end_value + (peak - end_value) * share_left(share)
    # XLA divides by multiplying, which may stop just short of 1.
    ended = since_start >= num_steps
    decayed = jnp.where(ended, end_value, decayed)
    return decayed * _warmup(since_start, warmup_steps)

  return schedule


def _steps_since(step: ArrayLike, start_step: int) -> Float[Array, ""]:
  # Integers first: float32 counts exactly only up to 16,777,216.
  since_start = jnp.asarray(step, jnp.int32) - start_step
  return jax.nn.relu(since_start).astype(jnp.float32)


def _warmup(
  since_start: Float[Array, ""], warmup_steps: int
) -> Float[Array, ""]:
  if not warmup_steps:
    return jnp.ones_like(since_start)
  return jnp.where(since_start < warmup_steps, since_start / warmup_steps, 1.0)


def _check_counts(**counts: int) -> None:
  for name, value in counts.items():
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
      raise ValueError(
        f"learning rate: {name} is {value!r}, due is an integer of 0 or more"
      )


def _check_rates(peak: float, end_value: float) -> None:
  if not (math.isfinite(peak) and math.isfinite(end_value) and peak > 0):
    raise ValueError(
      f"learning rate: peak {peak}, end_value {end_value}; due is a finite "
      "peak above 0 and a finite end_value"
    )
  if end_value < 0:
    raise ValueError(f"learning rate: end_value {end_value} is below 0")
