"""Optimizers: optax's, with T5X's numbers, clipping, freezing and decay masks.

What all of them can do:

  max_gradient_norm     gradients are scaled down to this global norm first
  freeze                parameters that stay as they are
  learning_rate_scales  parameters that move slower or faster than the others
  no_decay              parameters that weight decay leaves alone

The last three choose parameters by regular expressions, each of which must
match a whole T5X name: "encoder/layers_0/.*".  A pattern that matches nothing
is an error when the optimizer meets the parameters.

Every array of a state is a leaf of a tree of the parameters' own structure
(frozen ones too), so a state is sharded as the parameters are.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from gtr_jax.checkpoints import names
from gtr_jax.types import Params

# Norm scales, the relative position table, a learned temperature: decay towards
# 0 harms them.
NO_DECAY = (
  r".*norm/scale",
  r".*relpos_bias/rel_embedding",
  r"temperature/.*",
)


def adafactor(
  learning_rate: float | optax.Schedule,
  decay_rate: float = 0.8,
  step_offset: int = 0,
  clipping_threshold: float | None = 1.0,
  multiply_by_parameter_scale: bool = True,
  min_dim_size_to_factor: int = 128,
  epsilon: float = 1e-30,
  momentum: float | None = None,
  weight_decay_rate: float | None = None,
  no_decay: Sequence[str] = NO_DECAY,
  max_gradient_norm: float | None = None,
  freeze: Sequence[str] = (),
  learning_rate_scales: Mapping[str, float] | None = None,
) -> optax.GradientTransformation:
  """Adafactor as T5X runs it; the learning rate is relative to a parameter's
  root mean square (at least 1e-3).

  Args:
    decay_rate: the second moment of update t forgets with 1 - t**-decay_rate.
    step_offset: updates not counted in t.
    clipping_threshold: largest root mean square of a parameter's update, before
      the learning rate.
    min_dim_size_to_factor: a matrix with both dimensions at least this large
      keeps row and column means instead of a moment per entry.
    weight_decay_rate: share taken off a parameter a step; not multiplied by the
      learning rate.

  Source: Shazeer & Stern, 2018, algorithm 5 (https://arxiv.org/abs/1804.04235).
  """
  core = optax.adafactor(
    learning_rate,
    decay_rate=decay_rate,
    decay_offset=step_offset,
    clipping_threshold=clipping_threshold,
    multiply_by_parameter_scale=multiply_by_parameter_scale,
    min_dim_size_to_factor=min_dim_size_to_factor,
    eps=epsilon,
    momentum=momentum,
    weight_decay_rate=weight_decay_rate,
    weight_decay_mask=_decay_mask(no_decay),
  )
  return _by_name(core, max_gradient_norm, freeze, learning_rate_scales)


def adamw(
  learning_rate: float | optax.Schedule,
  beta1: float = 0.9,
  beta2: float = 0.999,
  epsilon: float = 1e-8,
  weight_decay: float = 0.01,
  no_decay: Sequence[str] = NO_DECAY,
  max_gradient_norm: float | None = None,
  freeze: Sequence[str] = (),
  learning_rate_scales: Mapping[str, float] | None = None,
) -> optax.GradientTransformation:
  """AdamW; weight decay is multiplied by the learning rate.

  Source: Loshchilov & Hutter, 2019 (https://arxiv.org/abs/1711.05101).
  """
  core = optax.adamw(
    learning_rate,
    b1=beta1,
    b2=beta2,
    eps=epsilon,
    weight_decay=weight_decay,
    mask=_decay_mask(no_decay),
  )
  return _by_name(core, max_gradient_norm, freeze, learning_rate_scales)


def lion(
  learning_rate: float | optax.Schedule,
  beta1: float = 0.9,
  beta2: float = 0.99,
  weight_decay: float = 0.1,
  no_decay: Sequence[str] = NO_DECAY,
  max_gradient_norm: float | None = None,
  freeze: Sequence[str] = (),
  learning_rate_scales: Mapping[str, float] | None = None,
) -> optax.GradientTransformation:
  """Lion: steps of one size, the sign of a smoothed gradient.

  Source: Chen et al., 2023, algorithm 2 (https://arxiv.org/abs/2302.06675).
  """
  core = optax.lion(
    learning_rate,
    b1=beta1,
    b2=beta2,
    weight_decay=weight_decay,
    mask=_decay_mask(no_decay),
  )
  return _by_name(core, max_gradient_norm, freeze, learning_rate_scales)


def sgd(
  learning_rate: float | optax.Schedule,
  momentum: float | None = None,
  nesterov: bool = False,
  max_gradient_norm: float | None = None,
  freeze: Sequence[str] = (),
  learning_rate_scales: Mapping[str, float] | None = None,
) -> optax.GradientTransformation:
  """Gradient descent, plain or with momentum; no weight decay."""
  core = optax.sgd(learning_rate, momentum=momentum, nesterov=nesterov)
  return _by_name(core, max_gradient_norm, freeze, learning_rate_scales)


def _by_name(
  core: optax.GradientTransformation,
  max_gradient_norm: float | None,
  freeze: Sequence[str],
  learning_rate_scales: Mapping[str, float] | None,
) -> optax.GradientTransformation:
  """Clipping before `core`; freezing before and after; scales after it."""
  if isinstance(freeze, str):
    raise ValueError(
      f"freeze is the text {freeze!r}, due is a list of patterns"
    )
  if max_gradient_norm is not None and not max_gradient_norm > 0:
    raise ValueError(
      f"max_gradient_norm is {max_gradient_norm}, due is above 0, or None"
    )
  scales = dict(learning_rate_scales or {})
  for pattern, scale in scales.items():
    if not (math.isfinite(scale) and scale > 0):
      raise ValueError(
        f"learning_rate_scales[{pattern!r}] is {scale}, due is above 0; "
        "name in `freeze` what shall not move"
      )
  frozen = dict.fromkeys(freeze, 0.0)
  # Frozen gradients are no part of the norm, frozen parameters do not decay.
  parts = [_scale_by_name(frozen, "freeze")] if frozen else []
  if max_gradient_norm is not None:
    parts.append(optax.clip_by_global_norm(max_gradient_norm))
  parts.append(core)
  if scales:
    parts.append(_scale_by_name(scales, "learning_rate_scales"))
  if frozen:
    parts.append(_scale_by_name(frozen, "freeze"))
  return optax.chain(*parts)


def _scale_by_name(
  scales: Mapping[str, float], option: str
) -> optax.GradientTransformation:
  """Multiplies what the patterns match; the first that matches counts."""
  patterns = {_compile(text, option): scale for text, scale in scales.items()}

  def scaled(path: Any, update: jax.Array) -> jax.Array:
    name = names.path_name(path)
    for pattern, scale in patterns.items():
      if pattern.fullmatch(name):
        # Zero, and not zero times infinity.
        return update * scale if scale else jnp.zeros_like(update)
    return update

  def init(params: Params) -> optax.EmptyState:
    for pattern in patterns:
      _check_matches(pattern, params, option)
    return optax.EmptyState()

  def update(updates, state, params=None):
    del params
    return jax.tree_util.tree_map_with_path(scaled, updates), state

  return optax.GradientTransformation(init, update)


def _compile(text: str, option: str) -> re.Pattern[str]:
  try:
    return re.compile(text)
  except re.error as error:
    raise ValueError(
      f"{option}: {text!r} is no regular expression ({error})"
    ) from error


def _check_matches(
  pattern: re.Pattern[str], params: Params, option: str
) -> None:
  leaves = jax.tree_util.tree_leaves_with_path(params)
  known = [names.path_name(path) for path, _ in leaves]
  if not any(map(pattern.fullmatch, known)):
    near = ", ".join(names.nearest(pattern.pattern, known))
    raise ValueError(
      f"{option}: {pattern.pattern!r} matches no parameter's whole name; the "
      f"nearest names are {near}"
    )


def _decay_mask(no_decay: Sequence[str]):
  """A function of parameters: a tree of who decays."""
  if isinstance(no_decay, str):
    raise ValueError(f"no_decay is the text {no_decay!r}, due is a list")
  patterns = [_compile(text, "no_decay") for text in no_decay]

  def decays(path: Any, _: Any) -> bool:
    name = names.path_name(path)
    return not any(pattern.fullmatch(name) for pattern in patterns)

  return lambda params: jax.tree_util.tree_map_with_path(decays, params)
