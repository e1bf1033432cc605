"""SeqIO's features of pairs to the model's, for who feeds tf.data to a model.

`gtr train` needs no converter: it reads tasks through a token store, which can
resume.  The rows are the same.
"""

from collections.abc import Mapping

import seqio
import tensorflow as tf

_FeatureSpec = seqio.FeatureConverter.FeatureSpec


class DualEncoderFeatureConverter(seqio.FeatureConverter):
  """Task features to `query_tokens` [L] and `passage_tokens` [K, L].

  Reads `inputs`, `targets` and, if there are to be negatives,
  `negative_targets` (rank 2), where the positive stands first and a missing
  negative is zeros.  A text that was cut has EOS put back as its last token.
  The lengths of `targets` and `negative_targets` must be equal.

  Inherits because SeqIO's `get_dataset` accepts nothing else.

  Args:
    num_negatives: K - 1.
    eos_id: of the vocabulary.
    passthrough_features: features to keep as they are, such as
      `{"query_id": FeatureSpec(tf.string, rank=0)}`; rank 0 needs no length
      but SeqIO wants one, any number.
  """

  def __init__(
    self,
    num_negatives: int = 0,
    eos_id: int = 1,
    passthrough_features: Mapping[str, _FeatureSpec] | None = None,
  ):
    self._num_negatives = num_negatives
    self._eos_id = eos_id
    self.TASK_FEATURES = {
      "inputs": _FeatureSpec(tf.int32),
      "targets": _FeatureSpec(tf.int32),
    }
    if num_negatives:
      self.TASK_FEATURES["negative_targets"] = _FeatureSpec(
        tf.int32, rank=2, sequence_dim=1
      )
    self.MODEL_FEATURES = {
      "query_tokens": _FeatureSpec(tf.int32),
      "passage_tokens": _FeatureSpec(tf.int32, rank=2, sequence_dim=1),
    }
    super().__init__(pack=False, passthrough_features=passthrough_features)

  def get_model_feature_lengths(
    self, task_feature_lengths: Mapping[str, int]
  ) -> Mapping[str, int]:
    lengths = {
      "query_tokens": task_feature_lengths["inputs"],
      "passage_tokens": task_feature_lengths["targets"],
    }
    return lengths | {
      name: task_feature_lengths[name] for name in self._passthrough_features
    }

  def _convert_features(
    self, ds: tf.data.Dataset, task_feature_lengths: Mapping[str, int]
  ) -> tf.data.Dataset:
    query_length = task_feature_lengths["inputs"]
    passage_length = task_feature_lengths["targets"]
    negative_length = task_feature_lengths.get("negative_targets")
    if negative_length not in (None, passage_length):
      raise ValueError(
        f"negative_targets has length {negative_length}, targets has"
        f" {passage_length}: give both the same"
      )

    def convert(features: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
      query = self._fit(features["inputs"][tf.newaxis], 1, query_length)
      passages = self._fit(features["targets"][tf.newaxis], 1, passage_length)
      if self._num_negatives:
        negatives = self._fit(
          features["negative_targets"], self._num_negatives, passage_length
        )
        passages = tf.concat([passages, negatives], axis=0)
      kept = {name: features[name] for name in self._passthrough_features}
      return {
        "query_tokens": query[0],
        "passage_tokens": passages,
        **kept,
      }

    return ds.map(convert, num_parallel_calls=tf.data.AUTOTUNE)

  def _fit(self, ids: tf.Tensor, num_rows: int, length: int) -> tf.Tensor:
    """The first rows, [num_rows, length]; EOS last, none in a row of zeros."""
    ids = ids[:num_rows]
    is_text = (ids != 0) & (ids != self._eos_id)  # [n, any length]
    content = tf.ragged.boolean_mask(ids, is_text)[:, : length - 1]
    eos = tf.where(content.row_lengths()[:, tf.newaxis] > 0, self._eos_id, 0)
    rows = tf.concat([content, tf.cast(eos, ids.dtype)], axis=1)
    return rows.to_tensor(shape=[num_rows, length])
