"""A config of `gtr train` as something to compile, without data or files."""

import argparse
import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from gtr_jax import partitioning
from gtr_jax.data import packed, synthetic
from gtr_jax.models import dual_encoder
from gtr_jax.planning import (
  advice,
  ahead_of_time,
  batch_shapes,
  estimate,
  topologies,
)
from gtr_jax.run import gin_config, gin_types, trainer, training_data
from gtr_jax.types import TowerName

# What a training must be told, but not a plan.
_PLACEHOLDERS = {
  "MODEL_DIR": "'planned'",
  "MIXTURE_OR_TASK_NAME": "'planned'",
  "TRAIN_STEPS": "1_000_000",
}
# Random pairs of a share, and shares, that are packed to find the rows of more.
_DRAWN_PAIRS, _DRAWN_SHARES = 2048, 8


@dataclasses.dataclass(frozen=True)
class PlannedConfig:
  """A config, and for which chips.

  Attributes:
    task: objective, optimizer, layout.
    settings: what decides the shapes of a batch.
    data: whether they are packed.
    slice_: the TPU slice; None plans for one GPU.
    gpu_memory: GiB of that.
    encode_tokens: tokens of a batch on each device when encoding.
    accumulated_batches: batches of an update.
    mean_tokens: of a text; decides the rows of packed training.
  """

  task: ahead_of_time.Task
  settings: batch_shapes.BatchSettings
  data: training_data.TrainingData
  slice_: topologies.Slice | None
  gpu_memory: float
  encode_tokens: int
  accumulated_batches: int
  mean_tokens: Mapping[TowerName, float]

  def train_step(self) -> estimate.Estimate:
    """Compiles an update."""
    self._check_batch()
    result = ahead_of_time.train_step(self.task, self._shapes(), self._devices)
    one = self._estimate(result)
    return estimate.accumulated(one, self.accumulated_batches)

  def encode_step(self) -> estimate.Estimate:
    """Compiles the encoding of passages of full length."""
    length = self.settings.passage_length
    rows = max(1, self.encode_tokens // length) * self._num_shares
    result = ahead_of_time.encode_step(
      self.task, self._shapes(), self._devices, rows, length
    )
    return self._estimate(result)

  def facts(self) -> dict[str, Any]:
    """What was planned."""
    return {
      "topology": self.slice_ and self.slice_.name,
      "num_slices": self.task.layout.num_slices,
      "mesh": dict(self.task.layout.mesh(self._devices).shape),
      "batch_size": self.settings.batch_size,
      "packed": self.data.packing,
      "num_chunks": self.num_chunks(),
      "remat": _macro("REMAT"),
    }

  def assumptions(self) -> list[str]:
    """What the estimates rest on."""
    if self.slice_ is None:
      return estimate.GPU_ASSUMPTIONS
    return estimate.slice_assumptions(self.slice_)

  def advice(self, found: estimate.Estimate) -> list[str]:
    """What to change if the train step does not fit."""
    size = self.settings.batch_size
    scores = size // self._num_shares * size * self.settings.num_passages * 4
    knobs = advice.Knobs(
      num_chunks=self.num_chunks(),
      max_chunks=self.texts_of_a_device(),
      remat=_macro("REMAT"),
      score_tile=_macro("SCORE_TILE"),
      has_score_tile="SCORE_TILE" in gin_config.macro_names(),
      shards_parameters=dict(self.task.layout.all_rules())["embed"] is not None,
      score_bytes=scores,
    )
    return advice.changes(found, knobs)

  def num_chunks(self) -> int | None:
    """NUM_CHUNKS, where it is a macro with a number."""
    value = _macro("NUM_CHUNKS")
    return value if isinstance(value, int) else None

  def batch_unit(self) -> int:
    """What batches are multiples of: a text a chunk and device."""
    return self._num_shares * (self.num_chunks() or 1)

  def texts_of_a_device(self) -> int:
    """Passages that a device encodes."""
    size = self.settings.batch_size * self.settings.num_passages
    return max(size // self._num_shares, 1)

  @functools.cached_property
  def _devices(self) -> Sequence[Any]:
    if self.slice_ is None:
      return jax.devices("cpu")[:1]
    return topologies.devices(self.slice_)

  @functools.cached_property
  def _num_shares(self) -> int:
    return partitioning.num_shares(self.task.layout.mesh(self._devices))

  def _shapes(self) -> batch_shapes.Shapes:
    if not self.data.packing:
      return batch_shapes.padded(self.settings)
    rows = _packed_rows(
      self.settings,
      self.data.packed_lengths,
      self.mean_tokens,
      self._num_shares,
    )
    return batch_shapes.packed(self.settings, rows, self._num_shares)

  def _estimate(self, result: ahead_of_time.Result) -> estimate.Estimate:
    if self.slice_ is None:
      return estimate.on_gpu(result, self.gpu_memory)
    return estimate.on_slice(result, self.slice_)

  def _check_batch(self) -> None:
    size, shares = self.settings.batch_size, self._num_shares
    if size < 1 or size % shares:
      raise ValueError(
        f"BATCH_SIZE is {size}, which the {shares} devices that share it do not"
        " divide; the next that fits is"
        f" {max(math.ceil(size / shares), 1) * shares}"
      )


def read(args: argparse.Namespace, more: Sequence[str] = ()) -> PlannedConfig:
  """The config that the flags name.

  Args:
    args: of `gtr plan`.
    more: further gin bindings.

  Raises:
    ValueError: for a mistake in the config, or no topology.
  """
  bindings = [*args.gin_bindings, *more]
  if args.num_slices is not None:
    bindings.append(f"NUM_SLICES={args.num_slices}")
  gin_config.parse(
    args.gin_file, bindings, args.gin_search_paths.split(","), _PLACEHOLDERS
  )
  gin_types.check()
  bound = gin_config.bound_arguments(trainer.train)
  layout, data = bound["devices"], bound["data"]
  model = bound["model"]
  return PlannedConfig(
    task=ahead_of_time.Task(
      bound["objective"],
      bound["optimizer"],
      layout,
      lambda params, tokens, tower: dual_encoder.encode(
        model, params, tokens, tower
      ),
    ),
    settings=_batch_settings(data, args.num_positives),
    data=data,
    slice_=_slice(args, layout),
    gpu_memory=args.gpu_memory or 0.0,
    encode_tokens=args.encode_tokens,
    accumulated_batches=bound.get("accumulated_batches", 1),
    mean_tokens={
      "query": args.mean_query_tokens,
      "passage": args.mean_passage_tokens,
    },
  )


def _batch_settings(
  data: training_data.TrainingData, num_positives: int
) -> batch_shapes.BatchSettings:
  tower = {"inputs": "query", "targets": "passage"}
  lengths = {tower.get(k, k): v for k, v in data.feature_lengths.items()}
  if set(lengths) != {"query", "passage"}:
    raise ValueError(
      f"TASK_FEATURE_LENGTHS names {', '.join(data.feature_lengths)}; due are"
      " 'query' and 'passage', or 'inputs' and 'targets'"
    )
  return batch_shapes.BatchSettings(
    data.batch_size,
    data.num_negatives,
    lengths["query"],
    lengths["passage"],
    num_positives,
  )


def _packed_rows(
  settings: batch_shapes.BatchSettings,
  row_lengths: Mapping[TowerName, int] | None,
  mean_tokens: Mapping[TowerName, float],
  num_shares: int,
) -> dict[TowerName, batch_shapes.Rows]:
  """Rows that random texts of these mean lengths take, a share at a time."""
  share = settings.batch_size // num_shares
  drawn, num_drawn = min(share, _DRAWN_PAIRS), min(num_shares, _DRAWN_SHARES)
  source = synthetic.SyntheticBatches(
    drawn * num_drawn,
    settings.num_negatives,
    settings.query_length,
    settings.passage_length,
    mean_query_tokens=mean_tokens["query"],
    mean_passage_tokens=mean_tokens["passage"],
  )
  batches = packed.PackedBatches(source, num_drawn, row_lengths)
  return {
    tower: batch_shapes.Rows(
      math.ceil(shape.num_rows * share / drawn),
      shape.row_length,
      shape.max_texts,
    )
    for tower, shape in batches.shapes.items()
  }


def _slice(
  args: argparse.Namespace, layout: partitioning.Layout
) -> topologies.Slice | None:
  if args.gpu_memory is not None:
    if args.gpu_memory <= 0:
      raise ValueError(f"--gpu_memory is {args.gpu_memory}: give its GiB")
    return None
  name = args.topology or layout.topology
  if name is None:
    raise ValueError(
      "--topology is missing, such as --topology=v5e:4x4, or --gpu_memory=80"
    )
  if name.startswith("gpu:"):
    raise ValueError(
      f"TOPOLOGY is {name!r}, for which no compiler is here: --gpu_memory=80"
      " estimates one GPU, --topology=v5e:4x4 plans a TPU slice"
    )
  return topologies.parse(name, layout.num_slices)


def _macro(name: str) -> Any:
  """What a macro is set to, None where there is none."""
  if name not in gin_config.macro_names():
    return None
  return gin_config.macro_value(name)
