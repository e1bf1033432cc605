"""The same model by T5X Retrieval, as T5X's `train.py` and `infer.py` run it.

Its own gin files make the model (Flaxformer's T5), the loss, Adafactor, the
partitioner and the trainer.  It packs nothing: rows are padded to the limit.
Activations are float32 and tokens are looked up, its best setting on a CPU;
`--as_shipped` takes its bfloat16 and one-hot products.

T5X Retrieval was last changed in 2022 and names things that its libraries no
longer have.  `install_stand_ins` puts something in their places before it is
imported.
"""

import contextlib
import importlib
import itertools
import pathlib
import types
from collections.abc import Callable
from typing import Any

import flax
import gin
import jax
import numpy as np

from benchmarks import peer, stand_ins, training

# What its runs/finetune.gin binds, which needs `train.py` as __main__.
_GIN = """
from __gin__ import dynamic_registration
from flaxformer.components import embedding
from t5x import adafactor
from t5x import partitioning
from t5x import trainer
from t5x import utils
from t5x_retrieval import adafactor_utils
from t5x_retrieval import partitioning as t5xr_partitioning
include 't5x_retrieval/configs/models/de_t5_base.gin'
VOCABULARY = None
adafactor.Adafactor:
  logical_factor_rules = @adafactor_utils.logical_factor_rules()
partitioning.PjitPartitioner:
  num_partitions = 1
  logical_axis_rules = @partitioning.standard_logical_axis_rules()
partitioning.standard_logical_axis_rules:
  additional_rules = @t5xr_partitioning.standard_logical_axis_rules()
utils.create_learning_rate_scheduler:
  factors = 'linear_decay'
  base_learning_rate = 0.001
  warmup_steps = 1000
trainer.Trainer:
  num_microbatches = None
  learning_rate_fn = @utils.create_learning_rate_scheduler()
"""
_BEST_ON_CPU = """
ACTIVATION_DTYPE = 'float32'
embedding.Embed.one_hot = False
"""
_BATCH = 32  # Of `infer.py`.


def main() -> None:
  flags = peer.flags()
  flags.add_argument("--as_shipped", action="store_true")
  options = flags.parse_args()
  install_stand_ins()
  size = training.SIZES[options.size]
  _configure(size, "" if options.as_shipped else _BEST_ON_CPU)
  setting = "as shipped" if options.as_shipped else "float32, gather"
  peer.serve(
    f"T5X Retrieval ({setting}), jax {jax.__version__}",
    work(
      size,
      options.batch_size or size.batch_size,
      options.encode_rows,
      options.texts,
    ),
  )


def work(
  size: training.Size, batch_size: int, encode_rows: int, num_texts: int
) -> dict[str, Callable[[], Any]]:
  """Train steps on full rows and on texts, encoding of both."""
  model = gin.query_parameter("%MODEL").scoped_configurable_fn()
  partitioner = gin.get_configurable("t5x.partitioning.PjitPartitioner")()
  full = _features(training.full_rows(size))
  pairs = _features(training.source(size, batch_size).batch_at(0))
  trainer, axes = _trainer(model, partitioner, full)
  encode = partitioner.partition(
    model.score_batch,
    in_axis_resources=(axes.params, partitioner.data_partition_spec),
    out_axis_resources=None,
  )

  def step(batch: dict[str, np.ndarray]) -> None:
    trainer.train(itertools.repeat(batch), num_steps=1).result()
    jax.block_until_ready(trainer.train_state)

  def embed(tokens: np.ndarray) -> None:
    params = trainer.train_state.params
    for start in range(0, len(tokens), _BATCH):
      part = {"left_encoder_input_tokens": tokens[start : start + _BATCH]}
      jax.block_until_ready(encode(params, part))

  rows = full["right_encoder_input_tokens"]
  corpus = np.resize(rows, (encode_rows, size.passage_length))
  texts = _features(training.source(size, num_texts).batch_at(0))
  return {
    "step": lambda: step(full),
    "pairs": lambda: step(pairs),
    "encode": lambda: embed(corpus),
    "texts": lambda: embed(texts["right_encoder_input_tokens"]),
  }


def _features(batch: Any) -> dict[str, np.ndarray]:
  """A batch by the names of its feature converter."""
  return {
    "left_encoder_input_tokens": batch["query_tokens"],
    "right_encoder_input_tokens": batch["passage_tokens"][:, 0],
  }


def _trainer(
  model: Any, partitioner: Any, batch: dict[str, np.ndarray]
) -> tuple[Any, Any]:
  """T5X's, and the axes of its state, made as by `train.py`."""
  utils = importlib.import_module("t5x.utils")
  initial = utils.TrainStateInitializer(
    model.optimizer_def,
    model.get_initial_variables,
    {name: tokens.shape for name, tokens in batch.items()},
    partitioner,
    {name: tokens.dtype for name, tokens in batch.items()},
  )
  trainer = gin.get_configurable("t5x.trainer.Trainer")(
    model=model,
    train_state=initial.from_scratch(jax.random.key(0)),
    partitioner=partitioner,
    eval_names=[],
    summary_dir=None,
    train_state_axes=initial.train_state_axes,
    rng=jax.random.key(0),
  )
  return trainer, initial.train_state_axes


def _configure(size: training.Size, more: str) -> None:
  shape = {
    "NUM_LAYERS": size.layers,
    "NUM_HEADS": size.heads,
    "HEAD_DIM": size.head_dim,
    "EMBED_DIM": size.width,
    "MLP_DIM": size.mlp_dim,
    "PROJECTION_DIM": size.projection_dim,
    "NUM_EMBEDDINGS": size.vocab_size,
  }
  bindings = [f"{name} = {number}" for name, number in shape.items()]
  (folder,) = importlib.import_module("t5x_retrieval").__path__
  with contextlib.chdir(pathlib.Path(folder).parent):  # Where includes start.
    gin.parse_config("\n".join([_GIN, *bindings, more]))


def install_stand_ins() -> None:
  """What T5X Retrieval needs of libraries that went on without it."""
  stand_ins.install()
  of_flax: Any = flax
  of_flax.optim = importlib.import_module("flax.optim")
  # Types that its annotations name.
  of_jax: Any = jax
  of_jax.pxla = types.SimpleNamespace(ShardedDeviceArray=jax.Array)
  of_jax.random.KeyArray = jax.Array
  # Variables of a new model are merged by a method of frozen dicts.
  flax.config.update("flax_return_frozendict", True)
  # Was a tuple when it was written, and is unpacked as one.
  architecture = importlib.import_module(
    "flaxformer.architectures.dual_encoder.dual_encoder_architecture"
  )
  architecture.DualEncoderOutput.__iter__ = lambda output: iter(
    (output.left_encoded, output.right_encoded, output.logits)
  )


if __name__ == "__main__":
  main()
