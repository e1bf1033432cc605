"""Our dual encoder and objective as a model that T5X's own programs run.

`t5x.train`, `t5x.eval` and `t5x.infer` bring their partitioner, trainer and
checkpoints; docs/t5x.md tells how.  Needs T5X, which no package index has.
"""

import functools
import importlib
import os
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import core
from flax import linen as nn
from jaxtyping import Array, Float

from gtr_jax import scoring
from gtr_jax.adapters import t5x_batch, t5x_variables
from gtr_jax.models import dual_encoder
from gtr_jax.objectives import objective as objective_lib
from gtr_jax.tasks import catalogue
from gtr_jax.types import Metrics, Params, TowerName

TRIED_COMMIT = "cc342d4"


def _library(name: str) -> Any:
  """A module of T5X or of what comes with it."""
  try:
    return importlib.import_module(name)
  except ModuleNotFoundError as error:
    raise ImportError(
      f"gtr_jax.adapters.t5x needs {error.name}, which is not installed:"
      " install T5X from its source, pip install"
      f" git+https://github.com/google-research/t5x@{TRIED_COMMIT} (the commit"
      " that was tried; docs/t5x.md)"
    ) from None


_models = _library("t5x.models")
_metrics = _library("t5x.metrics")
_adafactor = _library("t5x.adafactor")

# What `score_batch`, and so `t5x.infer`, gives of each pair.
INFERENCE_MODES = ("pair", "query", "passage")


class DualEncoderModel(_models.BaseTransformerModel):
  """A dual encoder trained by an objective of ours, as T5X's base model.

  Inherits because T5X asks for it.  The batch of T5X's train step is the global
  one, so every query meets the passages of all devices.

  Args:
    module: the dual encoder.
    objective: the loss; its NUM_CHUNKS stands in for T5X's microbatches.
    input_vocabulary: SeqIO's, of both towers.
    optimizer_def: one of T5X's optimizers; optax's in `OptaxWrapper`.
    num_negatives: hard negatives a query.
    num_positives: known positives a query that the losses see.
    inference_mode: what `score_batch` gives; see there.
    batch_size: of the global batch; None takes that of the variables' shapes.
    feature_converter_cls: another converter, such as T5X Retrieval's; it is
      called with pack=False.
  """

  def __init__(
    self,
    module: nn.Module,
    objective: objective_lib.Objective,
    input_vocabulary: Any,
    optimizer_def: Any,
    num_negatives: int = 0,
    num_positives: int = 1,
    inference_mode: str = "pair",
    batch_size: int | None = None,
    feature_converter_cls: Callable[..., Any] | None = None,
  ):
    if inference_mode not in INFERENCE_MODES:
      raise ValueError(
        f"INFERENCE_MODE is {inference_mode!r}; it must be one of"
        f" {', '.join(INFERENCE_MODES)}"
      )
    super().__init__(
      module=module,
      input_vocabulary=input_vocabulary,
      output_vocabulary=input_vocabulary,
      optimizer_def=optimizer_def,
    )
    self.FEATURE_CONVERTER_CLS = feature_converter_cls or functools.partial(
      _feature_converter,
      num_negatives=num_negatives,
      num_positives=num_positives,
      vocabulary=input_vocabulary,
    )
    self._objective = objective
    self._inference_mode = inference_mode
    self._batch_size = batch_size
    self._initial_batch_size: int | None = None

  def get_initial_variables(
    self,
    rng: jax.Array,
    input_shapes: Mapping[str, Any],
    input_types: Mapping[str, Any] | None = None,
  ) -> core.FrozenDict[str, Any]:
    """`params` under T5X's names and `params_axes`, their logical axes.

    The size of the batch in `input_shapes` is kept: it is how the loss knows a
    microbatch when it meets one.
    """
    del input_types  # Token ids and keys are int32; eval tells no types.
    features = {
      name: jnp.zeros(tuple(shape), jnp.int32)
      for name, shape in input_shapes.items()
    }
    batch = t5x_batch.from_features(features)
    self._initial_batch_size = len(batch["query_tokens"])
    boxed = self._objective.init(rng, batch)
    return core.freeze(t5x_variables.variables(boxed))

  def loss_fn(
    self,
    params: Params,
    batch: Mapping[str, jax.Array],
    dropout_rng: jax.Array | None,
  ) -> tuple[Float[Array, ""], dict[str, Any]]:
    """The objective's loss on the global batch, and clu metrics.

    Raises:
      ValueError: a microbatch, whose queries would miss the others' passages.
    """
    ours = t5x_batch.from_features(batch)
    num_queries = len(ours["query_tokens"])
    if dropout_rng is not None:  # That is, in a train step.
      t5x_batch.refuse_microbatch(
        num_queries, self._batch_size or self._initial_batch_size
      )
    loss, metrics = self._objective.loss(_plain(params), ours, dropout_rng)
    return loss, _clu_metrics({"loss": loss, **metrics}, num_queries)

  def score_batch(
    self,
    params: Params,
    batch: Mapping[str, jax.Array],
    return_intermediates: bool = False,
  ) -> Any:
    """What `t5x.infer --gin.infer.mode="'score'"` writes of each pair.

    Returns:
      By the inference mode: "query" and "passage" give embeddings [B, D];
      "pair" (and, of the others, `return_intermediates`) gives two things: the
      cosines [B] of queries and positives (the embeddings), and
      {"query_embeddings", "passage_embeddings"}, [B, D] each.
    """
    mode = self._inference_mode
    if mode == "query" and not return_intermediates:
      return self.encode(params, batch, "query")
    if mode == "passage" and not return_intermediates:
      return self.encode(params, batch, "passage")
    queries = self.encode(params, batch, "query")
    passages = self.encode(params, batch, "passage")
    cosines = jnp.sum(queries * passages, axis=-1)
    scores = {"pair": cosines, "query": queries, "passage": passages}
    return scores[mode], {
      "query_embeddings": queries,
      "passage_embeddings": passages,
    }

  def predict_batch_with_aux(
    self,
    params: Params,
    batch: Mapping[str, jax.Array],
    rng: jax.Array | None = None,
  ) -> tuple[Any, dict[str, jax.Array]]:
    """`score_batch` with both embeddings.

    `t5x.infer` takes what is predicted for token ids: its mode is "score".
    """
    del rng
    return self.score_batch(params, batch, return_intermediates=True)

  def encode(
    self, params: Params, batch: Mapping[str, jax.Array], tower: TowerName
  ) -> Float[Array, "B D"]:
    """Embeddings of the queries, or of the positives."""
    ours = t5x_batch.from_features(batch)
    tokens = ours["query_tokens"]
    if tower == "passage":
      tokens = ours["passage_tokens"][:, 0]
    return dual_encoder.encode(self.module, _plain(params), tokens, tower)

  def _compute_logits(
    self,
    params: Params,
    batch: Mapping[str, jax.Array],
    dropout_rng: jax.Array | None = None,
  ) -> Float[Array, "B B"]:
    """Cosines of all queries with all positives; T5X asks for the method."""
    del dropout_rng
    return scoring.dot_products(
      self.encode(params, batch, "query"), self.encode(params, batch, "passage")
    )


def logical_factor_rules() -> Mapping[str, Any]:
  """Adafactor's rules of T5X, and the projection's."""
  rules = dict(_adafactor.standard_logical_factor_rules())
  return core.freeze({**rules, "affinity": _adafactor.FactorDim.COLUMN})


def logical_axis_rules() -> tuple[tuple[str, None], ...]:
  """What T5X's partitioning rules lack: the projection's width stays whole."""
  return (("affinity", None),)


def vocabulary(path: str | None = None) -> Any:
  """The SentencePiece vocabulary of the registered tasks, as SeqIO has it.

  Args:
    path: of a model file; None takes GTR_VOCABULARY of the environment, as the
      tasks of `gtr_jax.tasks.registered` do.
  """
  seqio = _library("seqio")
  path = path or catalogue.vocabulary_path()
  return seqio.SentencePieceVocabulary(os.path.expanduser(path))


def _feature_converter(
  pack: bool = False,
  use_custom_packing_ops: bool = False,
  *,
  num_negatives: int,
  num_positives: int,
  vocabulary: Any,
) -> Any:
  """What T5X calls as a converter's class."""
  if pack or use_custom_packing_ops:
    raise ValueError(
      "T5X's packing was asked for, which joins pairs in one row: set"
      " utils.DatasetConfig.pack = False"
    )
  converters = _library("gtr_jax.data.feature_converters")
  return converters.DualEncoderFeatureConverter(
    num_negatives=num_negatives,
    num_positives=num_positives,
    eos_id=vocabulary.eos_id,
  )


def _plain(params: Params) -> Params:
  return (
    core.unfreeze(params) if isinstance(params, core.FrozenDict) else params
  )


def _clu_metrics(metrics: Metrics, num_queries: int) -> dict[str, Any]:
  """As T5X's trainer adds them up and writes them: means over steps, speed."""
  means = {
    name: _metrics.AveragePerStep.from_model_output(value)
    for name, value in metrics.items()
  }
  rate = _metrics.TimeRate.from_model_output
  return {
    **means,
    "timing/examples_per_second": rate(numerator=num_queries),
    "timing/steps_per_second": _metrics.StepsPerTime.from_model_output(),
    "timing/seconds": _metrics.Time(),
  }
