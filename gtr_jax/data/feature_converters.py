"""SeqIO's features of pairs to the model's, for who feeds tf.data to a model.

`gtr train` needs no converter: it reads tasks through a token store, which can
resume.  The rows are the same.
"""

import functools
from collections.abc import Mapping

import seqio
import tensorflow as tf

_FeatureSpec = seqio.FeatureConverter.FeatureSpec
_KEYS = ("query_keys", "passage_keys", "positive_keys")
# Keys are 1 to this, so that they are int32 and never 0 by chance.
_MOST_KEYS = 2**31 - 1


class DualEncoderFeatureConverter(seqio.FeatureConverter):
  """Task features to `query_tokens` [L] and `passage_tokens` [K, L].

  Reads `inputs`, `targets` and, if there are to be negatives,
  `negative_targets` (rank 2), where the positive stands first and a missing
  negative is zeros.  A text that was cut has EOS put back as its last token.
  The lengths of `targets` and `negative_targets` must be equal.

  With `num_positives`, also the keys that the losses mask by (`types.Batches`):
  of the texts, and of the ids where the records have `query_id`, `positive_ids`
  and `negative_ids`.  Further positives are `other_targets`.

  Inherits because SeqIO's `get_dataset` accepts nothing else.

  Args:
    num_negatives: K - 1.
    eos_id: of the vocabulary.
    passthrough_features: features to keep as they are, such as
      `{"query_id": FeatureSpec(tf.string, rank=0)}`; rank 0 needs no length
      but SeqIO wants one, any number.
    num_positives: P, how many known positives of a query the losses see; None
      gives no keys.
  """

  def __init__(
    self,
    num_negatives: int = 0,
    eos_id: int = 1,
    passthrough_features: Mapping[str, _FeatureSpec] | None = None,
    num_positives: int | None = None,
  ):
    if num_positives is not None and num_positives < 1:
      raise ValueError(
        f"NUM_POSITIVES is {num_positives}; it must be at least 1"
      )
    self._num_positives = num_positives
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
    if num_positives:
      rows = _FeatureSpec(tf.int32, rank=2, sequence_dim=1)
      self.MODEL_FEATURES |= {
        "query_keys": _FeatureSpec(tf.int32),
        "passage_keys": rows,
        "positive_keys": rows,
      }
    super().__init__(pack=False, passthrough_features=passthrough_features)

  def __call__(
    self, ds: tf.data.Dataset, task_feature_lengths: Mapping[str, int]
  ) -> tf.data.Dataset:
    """Model features; lengths of further passages may be there or not.

    SeqIO's evaluator gives the lengths of all features that a task has, and a
    training those that its user named.  Without a length of their own,
    negatives have that of `targets`.
    """
    lengths = dict(task_feature_lengths)
    lengths.pop("other_targets", None)
    if not self._num_negatives:
      lengths.pop("negative_targets", None)
    elif "negative_targets" not in lengths and "targets" in lengths:
      lengths["negative_targets"] = lengths["targets"]
      # SeqIO cuts what it was given a length of.
      ds = ds.map(functools.partial(_cut_negatives, lengths["targets"]))
    return super().__call__(ds, lengths)

  def get_model_feature_lengths(
    self, task_feature_lengths: Mapping[str, int]
  ) -> Mapping[str, int]:
    lengths = {
      "query_tokens": task_feature_lengths["inputs"],
      "passage_tokens": task_feature_lengths["targets"],
    }
    if self._num_positives:
      lengths |= dict.fromkeys(_KEYS, 2)
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
      positive = self._fit(features["targets"][tf.newaxis], 1, passage_length)
      passages = positive
      if self._num_negatives:
        negatives = self._fit(
          features["negative_targets"], self._num_negatives, passage_length
        )
        passages = tf.concat([positive, negatives], axis=0)
      kept = {name: features[name] for name in self._passthrough_features}
      if self._num_positives:
        positives = self._positives(features, positive, passage_length)
        kept |= _keys(features, query, passages, positives)
      return {
        "query_tokens": query[0],
        "passage_tokens": passages,
        **kept,
      }

    return ds.map(convert, num_parallel_calls=tf.data.AUTOTUNE)

  def _positives(
    self, features: Mapping[str, tf.Tensor], first: tf.Tensor, length: int
  ) -> tf.Tensor:
    """The known positives, [P, length], the one in use first."""
    num_others = (self._num_positives or 1) - 1
    if "other_targets" in features:
      others = self._fit(features["other_targets"], num_others, length)
    else:
      others = tf.zeros([num_others, length], first.dtype)
    return tf.concat([first, others], axis=0)

  def _fit(self, ids: tf.Tensor, num_rows: int, length: int) -> tf.Tensor:
    """The first rows, [num_rows, length]; EOS last, none in a row of zeros."""
    ids = ids[:num_rows]
    is_text = (ids != 0) & (ids != self._eos_id)  # [n, any length]
    content = tf.ragged.boolean_mask(ids, is_text)[:, : length - 1]
    eos = tf.where(content.row_lengths()[:, tf.newaxis] > 0, self._eos_id, 0)
    rows = tf.concat([content, tf.cast(eos, ids.dtype)], axis=1)
    return rows.to_tensor(shape=[num_rows, length])


def _cut_negatives(
  length: int, features: Mapping[str, tf.Tensor]
) -> dict[str, tf.Tensor]:
  negatives = features["negative_targets"][:, :length]
  return {**features, "negative_targets": negatives}


def _keys(
  features: Mapping[str, tf.Tensor],
  query: tf.Tensor,
  passages: tf.Tensor,
  positives: tf.Tensor,
) -> dict[str, tf.Tensor]:
  """(hash of the id, hash of the tokens) of each text; 0 where there is none.

  Equal where those of `tokenization.keys` are, but not the same numbers.
  """
  none = tf.zeros([0], tf.string)
  given = lambda name: tf.reshape(features.get(name, none), [-1])
  positive_ids = given("positive_ids")
  own_id = tf.concat([positive_ids, [""]], axis=0)[:1]
  passage_ids = tf.concat([own_id, given("negative_ids")], axis=0)
  return {
    "query_keys": _paired(given("query_id"), query)[0],
    "passage_keys": _paired(passage_ids, passages),
    "positive_keys": _paired(positive_ids, positives),
  }


def _paired(ids: tf.Tensor, tokens: tf.Tensor) -> tf.Tensor:
  """Keys [n, 2] of texts [n, L], of which the first may have ids."""
  num_texts = tf.shape(tokens)[0]
  ids = tf.concat([ids, tf.fill([num_texts], "")], axis=0)[:num_texts]
  texts = tf.strings.reduce_join(
    tf.strings.as_string(tokens), -1, separator=" "
  )
  is_text = tf.reduce_any(tokens != 0, axis=-1)
  by_id = tf.where(is_text & (ids != ""), _hashed(ids), 0)
  by_text = tf.where(is_text, _hashed(texts), 0)
  return tf.ensure_shape(tf.stack([by_id, by_text], axis=-1), [None, 2])


def _hashed(texts: tf.Tensor) -> tf.Tensor:
  """Positive int32, the same on every machine."""
  hashes = tf.strings.to_hash_bucket_fast(texts, _MOST_KEYS)
  return tf.cast(hashes + 1, tf.int32)
