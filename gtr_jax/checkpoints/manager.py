"""Checkpoints of a model directory: Orbax, asynchronous, sharded.

A step holds three items: `params`, under T5X's names, which is all that
encoding needs; `trainer`, the rest of the train state; `progress`, JSON: the
place in the data and what the evaluations said so far.  A step appears under
its number when it is whole, so a killed run leaves no half checkpoint.
"""

import dataclasses
import json
import operator
import pathlib
from collections.abc import Mapping
from typing import Any, cast

import jax
import orbax.checkpoint as ocp

from gtr_jax.checkpoints import names
from gtr_jax.types import Params

DIRECTORY = "checkpoints"
# Which measure tells the best step, where a run names no other.
MEASURE = "ndcg@10"
policies = ocp.checkpoint_managers


@dataclasses.dataclass(frozen=True)
class Checkpoints:
  """The checkpoints of one model directory, for writing and for reading.

  Attributes:
    orbax: Orbax's manager.
    directory: the folder whose sub-folders are the steps.
    measure: name of the measure that tells the best one.
  """

  orbax: ocp.CheckpointManager
  directory: pathlib.Path
  measure: str

  def save(
    self,
    step: int,
    params: Params,
    trainer: Any = None,
    progress: Mapping[str, Any] | None = None,
    measures: Mapping[str, float] | None = None,
  ) -> None:
    """Starts to write a step; returns when the arrays are off the devices.

    Args:
      step: number of updates made.
      params: arrays under T5X's names.
      trainer: any pytree of arrays: optimizer state, rng; None for parameters
        that were not trained here.
      progress: JSON.
      measures: evaluation at this step, if one was made.
    """
    items: dict[str, Any] = {
      "params": ocp.args.StandardSave(params),
      "progress": ocp.args.JsonSave(
        {"measure": self.measure, **(progress or {})}
      ),
    }
    if trainer is not None:
      items["trainer"] = ocp.args.StandardSave(trainer)
    self.orbax.save(
      step,
      args=ocp.args.Composite(**items),
      metrics=dict(measures) if measures else None,
      force=True,
    )

  def restore(
    self, step: int, params: Any, trainer: Any
  ) -> tuple[Params, Any, dict[str, Any]]:
    """(params, trainer, progress) of a step.

    Args:
      step: one of `steps()`.
      params: pytree of jax.ShapeDtypeStruct with shardings.
      trainer: likewise.

    Raises:
      ValueError: if the arrays on disk have another structure or shape.
    """
    try:
      # Orbax would notice half-way, with reads still under way.
      _check_shapes(self.directory / str(step) / "params", params)
      restored = self.orbax.restore(
        step,
        args=ocp.args.Composite(
          params=ocp.args.StandardRestore(params),
          trainer=ocp.args.StandardRestore(trainer),
          progress=ocp.args.JsonRestore(),
        ),
      )
    except (ValueError, KeyError, TypeError, FileNotFoundError) as error:
      raise ValueError(
        f"{self.directory}/{step}: cannot go on from this checkpoint: "
        f"{_first_line(error)}; was it made by another model or optimizer?"
        " Choose another MODEL_DIR, or the settings that made it; if the"
        f" folder is damaged, delete it{self._before(step)}"
      ) from error
    return restored["params"], restored["trainer"], restored["progress"]

  def _before(self, step: int) -> str:
    earlier = [other for other in self.steps() if other < step]
    return f" to go on from step {earlier[-1]}" if earlier else ""

  def steps(self) -> list[int]:
    """Steps that are whole, in order."""
    return sorted(self.orbax.all_steps())

  def close(self) -> None:
    """Waits until everything is on disk."""
    self.orbax.wait_until_finished()
    self.orbax.close()


def open_checkpoints(
  model_dir: str | pathlib.Path, keep: int = 3, measure: str = MEASURE
) -> Checkpoints:
  """Opens for writing: keeps the newest `keep` steps and the best one.

  Raises:
    ValueError: if `keep` is less than 1.
  """
  if keep < 1:
    raise ValueError(f"KEEP_CHECKPOINTS is {keep}; keep at least 1")
  directory = pathlib.Path(model_dir).absolute() / DIRECTORY
  value_of = operator.itemgetter(measure)
  options = ocp.CheckpointManagerOptions(
    best_fn=value_of,  # Without it Orbax writes no measures.
    preservation_policy=policies.AnyPreservationPolicy(
      [
        policies.LatestN(keep),
        policies.BestN(
          get_metric_fn=value_of,
          n=1,
          keep_checkpoints_without_metrics=False,
        ),
      ]
    ),
    cleanup_tmp_directories=True,
    enable_async_checkpointing=True,
  )
  return Checkpoints(
    ocp.CheckpointManager(directory, options=options), directory, measure
  )


def available_steps(model_dir: str | pathlib.Path) -> list[int]:
  """Steps that are whole, in order; none if there is no such directory."""
  directory = pathlib.Path(model_dir) / DIRECTORY
  if not directory.is_dir():
    return []
  return sorted(
    int(path.name)
    for path in directory.iterdir()
    if path.name.isdigit() and (path / "params").is_dir()
  )


def best_step(model_dir: str | pathlib.Path) -> int:
  """The best step by the run's own measure if one is known, else the newest.

  Raises:
    ValueError: if there is no checkpoint.
  """
  steps = available_steps(model_dir)
  if not steps:
    raise ValueError(
      f"{model_dir}: holds no checkpoint; a model directory has"
      f" {DIRECTORY}/<step>/, as `gtr train` and `gtr import` make"
    )
  measure = _read_json(model_dir, steps[-1], "progress/metadata").get(
    "measure", MEASURE
  )
  known = {
    step: _read_json(model_dir, step, "metrics/metrics").get(measure)
    for step in steps
  }
  scored = [step for step in steps if known[step] is not None]
  if not scored:
    return steps[-1]
  return max(scored, key=lambda step: (known[step], -step))


def read_params(
  model_dir: str | pathlib.Path,
  step: int,
  like: Mapping[str, jax.Array] | None = None,
) -> Params:
  """The parameters of one step, as arrays of this process's first device.

  Args:
    like: arrays by flat names; a parameter with the name and the shape of one
      is read to where that one is, so that no device and no host holds all of
      a large model.

  Raises:
    ValueError: if the step is not there or cannot be read whole.
  """
  steps = available_steps(model_dir)
  if step not in steps:
    raise ValueError(
      f"{model_dir}: has no checkpoint of step {step}; it has {steps}"
    )
  directory = pathlib.Path(model_dir).absolute() / DIRECTORY / str(step)
  device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
  like = like or {}

  def target_of(path, leaf):
    other = like.get(names.path_name(path))
    sharding = (
      other.sharding
      if other is not None and other.shape == leaf.shape
      else device
    )
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

  # The handler alone: a checkpointer warns of the file that the step holds
  # for all of its items and each item lacks.
  handler = cast(Any, ocp.StandardCheckpointHandler())
  item: Any = directory / "params"  # Orbax's types want a path of its own.
  metadata: Any = handler.metadata
  try:
    target = jax.tree_util.tree_map_with_path(target_of, dict(metadata(item)))
    return handler.restore(item, args=ocp.args.StandardRestore(target))
  except (ValueError, KeyError, TypeError, OSError) as error:
    raise ValueError(
      f"{directory}: cannot be read whole: {_first_line(error)}; use another"
      " step (--step)"
    ) from error
  finally:
    handler.close()


def _check_shapes(path: pathlib.Path, params: Any) -> None:
  """Raises a ValueError if the arrays at `path` are not those of `params`."""
  handler: Any = ocp.StandardCheckpointHandler()
  try:
    found = names.flatten(dict(handler.metadata(path)))
  finally:
    handler.close()
  differences = names.compare(names.flatten(params), found)
  other = differences.missing + differences.unused
  if other:
    raise ValueError(f"{other[0]} is not in both the checkpoint and the model")


def _read_json(
  model_dir: str | pathlib.Path, step: int, name: str
) -> dict[str, Any]:
  """A JSON item of a step; empty where the step has none, or half of one."""
  path = pathlib.Path(model_dir) / DIRECTORY / str(step) / name
  try:
    return json.loads(path.read_text())
  except (OSError, ValueError):
    return {}


def _first_line(error: Exception) -> str:
  lines = str(error).strip().splitlines() or [type(error).__name__]
  return lines[0][:300]
