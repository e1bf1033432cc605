"""The parameters that a stage starts from: another stage's, or T5X's."""

import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from gtr_jax.checkpoints import manager, names, t5x
from gtr_jax.run import model_directory
from gtr_jax.types import Params


def load(path: str, params: Params, say: Callable[[str], None]) -> Params:
  """`params`, with every array replaced that the checkpoint holds.

  Args:
    path: a model directory (its best step), or a T5X checkpoint.
    params: initialised, on the mesh; what the checkpoint lacks, such as the
      projection in a T5 checkpoint, stays as it is and is reported.
    say: takes lines for the user.

  Raises:
    ValueError: if arrays have another shape, or none fits.
  """
  found = names.flatten(_read(path))
  expected = names.flatten(params)
  try:
    differences = names.compare(expected, found)
  except ValueError as error:
    raise ValueError(
      f"INITIAL_CHECKPOINT_PATH {path}: {error}; is it of another size?"
    ) from error
  taken = [name for name in expected if name in found]
  if not taken:
    raise ValueError(
      f"INITIAL_CHECKPOINT_PATH {path}: none of its {len(found)} arrays is one"
      f" of the model's; it holds {', '.join(list(found)[:3])} …"
    )
  for label, listed in (
    ("not in it, initialised", differences.missing),
    ("not used", differences.unused),
  ):
    if listed:
      more = f" and {len(listed) - 4} more" if len(listed) > 4 else ""
      say(f"{path}: {label}: {', '.join(listed[:4])}{more}")
  return names.unflatten(
    {
      name: _like(found[name], leaf) if name in found else leaf
      for name, leaf in expected.items()
    }
  )


def inherited_vocabulary(path: str | None) -> pathlib.Path | None:
  """The vocabulary folder of the model directory that a stage starts from."""
  folder = pathlib.Path(path) / model_directory.VOCABULARY if path else None
  return folder if folder and folder.is_dir() else None


def _read(path: str) -> Any:
  if manager.available_steps(path):
    return manager.read_params(path, manager.best_step(path))
  return t5x.read_t5x(path, with_optimizer_state=False).params


def _like(value: Any, leaf: jax.Array) -> jax.Array:
  return jax.device_put(jnp.asarray(value, leaf.dtype), leaf.sharding)
