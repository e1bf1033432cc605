"""What a model directory knows of its training and of its results."""

import pathlib
from collections.abc import Sequence
from typing import Any

from gtr_jax.evaluation import ledger
from gtr_jax.export import facts
from gtr_jax.run import gin_config, model_directory

# Macros that tell a reader how the model came to be.
_TOLD = (
  "INITIAL_CHECKPOINT_PATH",
  "MIXTURE_OR_TASK_NAME",
  "TRAIN_STEPS",
  "BATCH_SIZE",
  "NUM_NEGATIVES",
  "TASK_FEATURE_LENGTHS",
  "OPTIMIZER",
  "SCHEDULE",
  "LEARNING_RATE",
  "LABEL_SMOOTHING",
  "MARGIN",
  "SEED",
)
# These name files of this machine, of which a card tells the last part alone.
_PATHS = ("INITIAL_CHECKPOINT_PATH", "MIXTURE_OR_TASK_NAME")


def read(
  directory: pathlib.Path, checkpoint: str, results: Sequence[str] = ()
) -> facts.Facts:
  """The facts of a model.

  Args:
    directory: the model directory.
    checkpoint: hash of the parameters that were read from it.
    results: ledgers beside `results.jsonl` of the model directory.

  Raises:
    ValueError: a ledger cannot be read, or holds nothing of this checkpoint.
  """
  paths = [pathlib.Path(path) for path in results]
  for path in paths:
    if not ledger.of_checkpoint([path], checkpoint).records:
      raise ValueError(
        f"{path}: holds no result of this checkpoint, {checkpoint}; evaluate it"
        " with `gtr evaluate --model`, or leave out --results"
      )
  own = directory / ledger.FILE
  if own.is_file():
    paths.insert(0, own)
  found = ledger.of_checkpoint(paths, checkpoint)
  return facts.Facts(
    name=directory.resolve().name,
    results=found.records,
    num_others=found.num_others,
    training=_training(directory / model_directory.CONFIG_FILE),
  )


def _training(config: pathlib.Path) -> dict[str, Any]:
  """Settings of the run; none of a model that was not trained here."""
  if not config.is_file():
    return {}
  values = gin_config.macros_of_file(config)
  if "TRAIN_STEPS" not in values:
    return {}
  told = {name: values[name] for name in _TOLD if values.get(name) is not None}
  for name in _PATHS:
    if isinstance(told.get(name), str):
      told[name] = _last_parts(told[name])
  return {
    name: value
    if isinstance(value, (int, float, str, dict))
    else str(value).removeprefix("@").removesuffix("()")
    for name, value in told.items()
  }


def _last_parts(paths: str) -> str:
  parts = [pathlib.PurePath(path.strip()).name for path in paths.split(",")]
  return ", ".join(filter(None, parts))
