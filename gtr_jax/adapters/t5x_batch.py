"""A T5X model's features to the batch of an objective."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, UInt32

from gtr_jax.types import Batch

_OURS = ("query_tokens", "passage_tokens")
# T5X Retrieval's feature converters.
_LEFT = "left_encoder_input_tokens"
_RIGHT = "right_encoder_input_tokens"
_NEGATIVES = "right_negative_encoder_input_tokens"


def from_features(features: Mapping[str, Any]) -> Batch:
  """A batch as `types.Batches` has it.

  Keys that the features lack are made of the tokens, which knows equal texts,
  but neither ids nor further positives.

  Args:
    features: ours, or left and right ones of T5X Retrieval.

  Raises:
    ValueError: neither.
  """
  if set(_OURS) <= set(features):
    batch = dict(features)
  elif {_LEFT, _RIGHT} <= set(features):
    batch = {
      "query_tokens": features[_LEFT],
      "passage_tokens": _passages(features),
    }
  else:
    raise ValueError(
      f"the features are {', '.join(sorted(features))}; due are"
      f" {' and '.join(_OURS)}, or {_LEFT} and {_RIGHT}: take"
      " gtr_jax.data.feature_converters.DualEncoderFeatureConverter"
    )
  if "query_keys" not in batch:
    batch["query_keys"] = text_keys(batch["query_tokens"])
    batch["passage_keys"] = text_keys(batch["passage_tokens"])
  if "positive_keys" not in batch:
    batch["positive_keys"] = batch["passage_keys"][:, :1]
  return batch


def text_keys(tokens: Int[Array, "*n L"]) -> Int[Array, "*n 2"]:
  """Keys (0, hash of the tokens); (0, 0) for a row without a token.

  A sum of products with numbers drawn at random for each place, so that
  different texts meet in one of 2^32 pairs.
  """
  rng = np.random.default_rng(0)
  factors = rng.integers(0, 2**32, tokens.shape[-1], np.uint32) | 1
  place = factors.reshape((1,) * (tokens.ndim - 1) + (-1,))
  products = _mixed(jnp.asarray(tokens).astype(jnp.uint32)) * place
  sums = products.sum(axis=-1, dtype=jnp.uint32)
  is_text = (tokens != 0).any(axis=-1)
  hashes = jnp.where(is_text, jnp.maximum(sums, 1), 0)
  hashes = jax.lax.bitcast_convert_type(hashes.astype(jnp.uint32), jnp.int32)
  return jnp.stack([jnp.zeros_like(hashes), hashes], axis=-1)


def refuse_microbatch(num_queries: int, batch_size: int | None) -> None:
  """Refuses a loss of a part of the batch, as in T5X's microbatches.

  Args:
    num_queries: what the loss was given.
    batch_size: of the global batch; None where nobody told.

  Raises:
    ValueError: a part, or nobody told.
  """
  if batch_size is None:
    raise ValueError(
      "the size of the global batch is not known, so that microbatches cannot"
      " be told from it: call get_initial_variables with its shapes first (T5X"
      " does), or bind DualEncoderModel.batch_size"
    )
  if num_queries < batch_size:
    parts = -(-batch_size // max(num_queries, 1))
    raise ValueError(
      f"the loss was given {num_queries} of the {batch_size} queries of a"
      " batch: T5X's microbatches see only their own negatives; set"
      " trainer.Trainer.num_microbatches = None and"
      f" NUM_CHUNKS = {parts}, which saves the same memory and keeps the"
      " gradient of the whole batch"
    )


def _passages(features: Mapping[str, Any]) -> Int[Array, "B K L"]:
  positives = features[_RIGHT][:, None]
  if _NEGATIVES not in features:
    return positives
  negatives = features[_NEGATIVES]
  if negatives.ndim == 2:  # T5X Retrieval's form of a single negative.
    negatives = negatives[:, None]
  return jnp.concatenate([positives, negatives], axis=1)


def _mixed(x: UInt32[Array, "..."]) -> UInt32[Array, "..."]:
  """Each uint32 to another, 0 to 0, all bits dependent on all.

  Source: the finalizer of MurmurHash3, public domain.
  """
  x = (x ^ (x >> 16)) * jnp.uint32(0x85EBCA6B)
  x = (x ^ (x >> 13)) * jnp.uint32(0xC2B2AE35)
  return x ^ (x >> 16)
