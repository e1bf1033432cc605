"""SeqIO preprocessors: records of text to the features of a dual encoder.

Features carry the names that T5X Retrieval gave them:

  inputs             the query
  targets            a positive passage
  other_targets      optional, rank 2: further positives
  negative_targets   optional, rank 2: hard negatives
  query_id, positive_ids, negative_ids   optional strings, "" where unknown
"""

from collections.abc import Mapping
from typing import Any

import seqio
import tensorflow as tf

PASSAGES = ("targets", "other_targets", "negative_targets")


@seqio.map_over_dataset
def to_features(record: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
  """Fields of a pair to features; `positives` has at least one text."""
  return {
    "inputs": record["query"],
    "targets": record["positives"][0],
    "other_targets": record["positives"][1:],
    "negative_targets": record["negatives"],
    "query_id": record["query_id"],
    "positive_ids": record["positive_ids"],
    "negative_ids": record["negative_ids"],
  }


def add_prompts(
  dataset: tf.data.Dataset, query_prompt: str, passage_prompt: str
) -> tf.data.Dataset:
  """Puts each tower's prompt before its texts."""
  prompts = dict.fromkeys(PASSAGES, passage_prompt) | {"inputs": query_prompt}

  def convert(features: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    return {
      name: prompts[name] + value if name in prompts else value
      for name, value in features.items()
    }

  return dataset.map(convert, num_parallel_calls=tf.data.AUTOTUNE)


def tokenize(
  dataset: tf.data.Dataset,
  output_features: Mapping[str, Any],
  sequence_length: Mapping[str, int] | None = None,
) -> tf.data.Dataset:
  """Texts to token ids: cut to the sequence length, EOS kept, rank 2 dense.

  A list of texts becomes [texts, longest], zeros behind the short ones.
  """

  def convert(features: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    return {
      name: _tokenize(
        value, output_features[name], (sequence_length or {}).get(name)
      )
      if name in output_features
      else value
      for name, value in features.items()
    }

  return dataset.map(convert, num_parallel_calls=tf.data.AUTOTUNE)


def _tokenize(text: tf.Tensor, feature: Any, length: int | None) -> tf.Tensor:
  ids = feature.vocabulary.encode_tf(tf.reshape(text, [-1]))  # [n, ragged]
  if length is not None:
    ids = ids[:, : length - 1]
  eos = tf.fill([ids.nrows(), 1], feature.vocabulary.eos_id)
  ids = tf.concat([ids, tf.cast(eos, ids.dtype)], axis=1)
  dense = tf.cast(ids.to_tensor(), tf.int32)
  return dense[0] if text.shape.rank == 0 else dense
