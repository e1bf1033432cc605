"""Optimizer states that start elsewhere than at zero."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike

from gtr_jax.checkpoints import names, t5x


def at_step(state: Any, step: ArrayLike) -> Any:
  """A fresh state whose learning rate schedule stands at `step`.

  A schedule counts by itself, from 0.  Training that starts at step 999,900
  must tell it, or it warms up and decays by the wrong numbers.  Moments keep
  counting from 0: they hold no gradients yet.

  Args:
    state: from `optimizer.init`; with or without boxes, under `jit` or not.
    step: number of updates made before.
  """

  def moved(part: optax.ScaleByScheduleState) -> optax.ScaleByScheduleState:
    return part._replace(count=jnp.asarray(step, jnp.int32))

  return _replace(state, optax.ScaleByScheduleState, moved)


def from_t5x(state: Any, checkpoint: t5x.T5XCheckpoint) -> Any:
  """An Adafactor state that goes on where T5X stopped.

  Args:
    state: from `optimizers.adafactor(...).init`, without boxes.
    checkpoint: with an optimizer state; more names than the parameters' are
      fine, such as a decoder's.

  Returns:
    `state` with host arrays (float32 moments, int32 counts) in it.

  Raises:
    ValueError: no Adafactor state on either side, a parameter without moments,
      or moments of another shape (T5X factored otherwise).
  """
  moments, step = checkpoint.optimizer_state, np.int32(checkpoint.step)
  if moments is None:
    raise ValueError("the T5X checkpoint holds no Adafactor state")

  def factored(part: optax.FactoredState) -> optax.FactoredState:
    return optax.FactoredState(
      count=step,
      v_row=_fill(part.v_row, moments, "v_row"),
      v_col=_fill(part.v_col, moments, "v_col"),
      v=_fill(part.v, moments, "v"),
    )

  def momentum(part: optax.EmaState) -> optax.EmaState:
    return optax.EmaState(step, _fill(part.ema, moments, "m"))

  if not _parts(state, optax.FactoredState):
    raise ValueError(
      "T5X's optimizer state is Adafactor's; the optimizer is another one"
    )
  state = _replace(state, optax.FactoredState, factored)
  state = _replace(state, optax.EmaState, momentum)
  return at_step(state, step)


def _fill(
  tree: Any, moments: Mapping[str, Mapping[str, np.ndarray]], key: str
) -> Any:
  """`tree` with T5X's arrays as its leaves."""

  def one(path: Any, leaf: Any) -> np.ndarray:
    name = names.path_name(path)
    if name not in moments:
      raise ValueError(f"T5X's optimizer state has no moments for {name}")
    array = moments[name][key]
    if array.shape != leaf.shape:
      raise ValueError(
        f"T5X's optimizer state: {key} of {name} is {array.shape}, due is "
        f"{leaf.shape}"
      )
    return array.astype(leaf.dtype)

  return jax.tree_util.tree_map_with_path(one, tree)


def _replace(state: Any, kind: type, change: Callable[[Any], Any]) -> Any:
  """`state` with every part of this kind changed."""
  return jax.tree.map(
    lambda part: change(part) if isinstance(part, kind) else part,
    state,
    is_leaf=lambda part: isinstance(part, kind),
  )


def _parts(state: Any, kind: type) -> list[Any]:
  parts = jax.tree.leaves(state, is_leaf=lambda part: isinstance(part, kind))
  return [part for part in parts if isinstance(part, kind)]
