"""One stage of training, as gin binds it."""

import contextlib
import itertools
import json
import math
import pathlib
import sys
from collections.abc import Callable, Iterable
from typing import Any

import jax
import optax

from gtr_jax import partitioning
from gtr_jax.checkpoints import manager
from gtr_jax.data import prefetch, vocabulary
from gtr_jax.files import whole
from gtr_jax.models import dual_encoder
from gtr_jax.objectives import objective as objective_lib
from gtr_jax.run import (
  distributed,
  evaluation_during_training,
  gin_config,
  initial_checkpoint,
  model_directory,
  stop_signals,
  training_data,
  training_log,
)
from gtr_jax.training import hooks as hooks_lib
from gtr_jax.training import loop
from gtr_jax.training import state as state_lib
from gtr_jax.training import step as step_lib

# Batches made ahead of the step.
PREFETCH = 4
BAD_BATCH = "bad_batch.json"
Say = Callable[[str], None]


def train(
  *,
  model_dir: str,
  model: dual_encoder.DualEncoder,
  objective: objective_lib.Objective,
  optimizer: optax.GradientTransformation,
  schedule: optax.Schedule,
  data: training_data.TrainingData,
  evaluation: evaluation_during_training.Evaluation,
  devices: partitioning.Layout,
  train_steps: int,
  seed: int = 0,
  initial_checkpoint_path: str | None = None,
  initial_step: int = 0,
  accumulated_batches: int = 1,
  log_period: int = 100,
  checkpoint_period: int = 1000,
  keep_checkpoints: int = 3,
) -> dict[str, Any]:
  """Trains, going on from the newest checkpoint in `model_dir` if there is one.

  Args:
    model_dir: the model directory, made if need be.
    model: the dual encoder, for evaluation.
    objective: what is made small.
    optimizer: how.
    schedule: the optimizer's learning rate, for the log.
    data: the batches.
    evaluation: a retrieval evaluation beside the training.
    train_steps: number of the last update.
    seed: of the initial parameters, the dropout and the order of the data.
    initial_checkpoint_path: a model directory or a T5X checkpoint whose
      parameters a new run starts from.
    initial_step: number that a new run starts from.
    devices: how they share the work.
    accumulated_batches: whole contrastive batches whose mean gradient makes one
      update.
    log_period: updates between two lines of the log.
    checkpoint_period: updates between two checkpoints.
    keep_checkpoints: how many to keep, besides the best.

  Returns:
    model, step, loss, examples_per_second, stopped_by_signal: what `gtr train
    --json` says.

  Raises:
    ValueError: for a mistake in the settings or in the data.
    FloatingPointError: at a loss that is no number.
  """
  _check(
    BATCH_SIZE=data.batch_size,
    LOG_PERIOD=log_period,
    CHECKPOINT_PERIOD=checkpoint_period,
    ACCUMULATED_BATCHES=accumulated_batches,
  )
  is_first = jax.process_index() == 0
  say = _say if is_first else _hush
  mesh = _mesh(devices, data.batch_size)
  rules = devices.all_rules()
  directory = model_directory.path_of(model_dir)
  with distributed.exit_stack() as stack:
    distributed.check_shared(directory)
    if is_first:
      stack.enter_context(model_directory.locked(directory))
    if initial_checkpoint_path and not manager.available_steps(directory):
      initial_checkpoint.check_vocabulary(initial_checkpoint_path, data)
    with distributed.first_alone("data"):
      batches, tokenizer = data.open(
        directory,
        seed,
        initial_checkpoint.inherited_vocabulary(initial_checkpoint_path),
        say,
        partitioning.process_share(mesh),
        partitioning.num_shares(mesh),
      )
    init = state_lib.make_init(
      objective, optimizer, batches.batch_at(0), initial_step
    )
    state, layout = state_lib.create(init, seed, mesh, rules)
    checkpoints = stack.enter_context(
      contextlib.closing(
        manager.open_checkpoints(
          directory, keep_checkpoints, evaluation.measure
        )
      )
    )
    state, progress = _first_state(
      checkpoints, state, batches, initial_checkpoint_path, say
    )
    first_step = int(state.step)
    if is_first:
      vocabulary.save(tokenizer, directory / model_directory.VOCABULARY)
      model_directory.write_config(directory, gin_config.operative_config())
    with distributed.first_alone("collection"):
      evaluate = evaluation.open(directory, model, tokenizer, mesh, rules, say)
    say(_summary(state, batches, tokenizer, mesh, train_steps))
    log = stack.enter_context(
      training_log.open_log(directory, first_step, train_steps)
    )
    prefetched = stack.enter_context(
      contextlib.closing(prefetch.prefetch(batches, PREFETCH))
    )
    guard = hooks_lib.FiniteGuard(
      describe=lambda number: _write_batch(
        directory / BAD_BATCH,
        batches,
        range(
          (number - 1 - initial_step) * accumulated_batches,
          (number - initial_step) * accumulated_batches,
        ),
        number,
      ),
      last_good=lambda: max(checkpoints.steps(), default=None),
      warn=lambda text: say(f"warning: {text}"),
      first_step=initial_step,
    )
    metrics_log = hooks_lib.MetricsLog(
      log.write,
      log_period,
      data.batch_size * accumulated_batches,
      first_step,
      schedule,
    )
    keeper = hooks_lib.Keeper(
      checkpoints,
      position=prefetched.position,
      guard=guard,
      write=log.write,
      checkpoint_period=checkpoint_period,
      evaluate=evaluate,
      eval_period=evaluation.period,
      last_step=train_steps,
      progress=progress,
      saved_step=max(checkpoints.steps(), default=None),
    )
    stop = stack.enter_context(stop_signals.watched(say, first_step))
    state = loop.train(
      state,
      (
        [
          partitioning.to_global(next(prefetched), mesh)
          for _ in range(accumulated_batches)
        ]
        for _ in itertools.count()
      ),
      step_lib.compile_step(objective, optimizer, mesh, layout, rules),
      train_steps,
      hooks=[guard, metrics_log, log.tick, keeper],
      stop=lambda: (
        stop.is_due() or _is_over(keeper.progress, evaluation.patience, say)
      ),
    )
    guard.flush()
    keeper.save(int(state.step), state)
  return {
    "model": str(directory),
    "step": int(state.step),
    "loss": guard.loss,
    "examples_per_second": round(metrics_log.examples_per_second, 2),
    "stopped_by_signal": stop.came(),
  }


def _first_state(
  checkpoints: manager.Checkpoints,
  state: state_lib.TrainState,
  batches: training_data.TrainingBatches,
  initial_checkpoint_path: str | None,
  say: Say,
) -> tuple[state_lib.TrainState, hooks_lib.Progress]:
  """Where a killed run stopped; else the initial checkpoint; else at random."""
  steps = checkpoints.steps()
  if steps:
    step = steps[-1]
    target = state_lib.abstract(state)
    params, trainer, progress = checkpoints.restore(
      step,
      target.params,
      {"opt_state": target.opt_state, "rng": target.rng, "step": target.step},
    )
    batches.restore(progress["data"])
    say(f"going on from step {step}")
    state = state.replace(params=params, **trainer)
    return state, hooks_lib.Progress(**progress["evaluations"])
  if initial_checkpoint_path:
    params = initial_checkpoint.load(initial_checkpoint_path, state.params, say)
    state = state.replace(params=params)
  return state, hooks_lib.Progress()


def _check(**counts: int) -> None:
  for name, count in counts.items():
    if not isinstance(count, int) or count < 1:
      raise ValueError(
        f"{name} is {count!r}; it must be a whole number above 0"
      )


def _mesh(devices: partitioning.Layout, batch_size: int) -> jax.sharding.Mesh:
  mesh = devices.mesh()
  num_shards = partitioning.num_shares(mesh)
  if batch_size % num_shards:
    raise ValueError(
      f"BATCH_SIZE is {batch_size}, which the {num_shards} devices of the data"
      " axis do not divide; the next that fits is"
      f" {math.ceil(batch_size / num_shards) * num_shards}"
    )
  return mesh


def _summary(
  state: state_lib.TrainState,
  batches: training_data.TrainingBatches,
  tokenizer: vocabulary.Tokenizer,
  mesh: jax.sharding.Mesh,
  train_steps: int,
) -> str:
  num_parameters = sum(x.size for x in jax.tree.leaves(state.params))
  axes = " × ".join(f"{name} {size}" for name, size in mesh.shape.items())
  return (
    f"{num_parameters:,} parameters, {batches.describe()},"
    f" {tokenizer.vocab_size:,} pieces, {mesh.devices.flat[0].device_kind}"
    f" ({axes}), steps {int(state.step):,} to {train_steps:,}"
  )


def _write_batch(
  path: pathlib.Path,
  batches: training_data.TrainingBatches,
  numbers: Iterable[int],
  update: int,
) -> str:
  """Which examples the batches of an update held; all in a file.

  Examples are counted from 0 in the order of the data, bad lines left out.
  """
  ids = [int(i) for number in numbers for i in batches.ids_at(number)]
  content = {"update": update, "example_ids": ids}
  if jax.process_index() == 0:
    whole.write(path, (json.dumps(content) + "\n").encode())
  more = f" … (all in {path})" if len(ids) > 8 else ""
  return f"examples {', '.join(map(str, ids[:8]))}{more}"


def _is_over(
  progress: hooks_lib.Progress, patience: int | None, say: Say
) -> bool:
  if patience is None or progress.without_gain < patience:
    return False
  say(
    f"early stop: no gain in {progress.without_gain} evaluations; the best,"
    f" {progress.best:.4f}, was at step {progress.best_step}"
  )
  return True


def _say(text: str) -> None:
  print(text, file=sys.stderr, flush=True)


def _hush(text: str) -> None:
  del text
