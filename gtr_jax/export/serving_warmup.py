"""Requests that TensorFlow Serving runs before it says that a model is ready.

Each new shape waits for XLA's compiler.  The file is a TFRecord of
`PredictionLog`s; their five messages are put together here, byte by byte, so
that nobody needs the package tensorflow-serving-api.

Source: https://www.tensorflow.org/tfx/serving/saved_model_warmup; the numbers
  of the fields: prediction_log.proto, predict.proto and model.proto in
  https://github.com/tensorflow/serving/tree/master/tensorflow_serving/apis.
"""

import pathlib
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from gtr_jax.export import original as original_lib
from gtr_jax.types import TowerName

# Where Serving looks, in a SavedModel.
FILE = "assets.extra/tf_serving_warmup_requests"
# A text alone, and a batch such as Serving makes of waiting requests.
BATCH_SIZES = (1, 8)
_SHORT_TEXT = "how do I parse json"
_MODEL_NAME = "gtr"  # Serving asks the model that it loads, whatever its name.


def write(original: original_lib.Original, directory: pathlib.Path) -> None:
  """Writes the requests for each signature of a SavedModel."""
  path = directory / FILE
  path.parent.mkdir(exist_ok=True)
  with tf.io.TFRecordWriter(str(path)) as writer:
    for signature, name, tensor in requests(original):
      writer.write(_prediction_log(signature, name, tensor))


def requests(
  original: original_lib.Original,
) -> Iterator[tuple[str, str, np.ndarray]]:
  """(signature, name of its input, input): short and longest texts.

  Short texts are those of most queries; longest, of most passages.  Token ids
  run the programs that the strings have had compiled, so one row is enough.
  """
  for signature in ("serving_default", "encode_query", "encode_passage"):
    tower: TowerName = "passage" if "passage" in signature else "query"
    for text in _texts(original, tower):
      for count in BATCH_SIZES:
        yield signature, "texts", np.array([text.encode()] * count)
  for tower in original_lib.TOWERS:
    length = original.length(tower)
    for text in _texts(original, tower):
      rows, _ = original.tokenizer.encode([text], length, tower)
      yield f"encode_{tower}_tokens", "tokens", rows[0][None].astype(np.int32)


def _texts(original: original_lib.Original, tower: TowerName) -> list[str]:
  return [_SHORT_TEXT, " ".join(["word"] * original.length(tower))]


def _prediction_log(signature: str, name: str, tensor: np.ndarray) -> bytes:
  model_spec = _field(1, _MODEL_NAME.encode()) + _field(3, signature.encode())
  content = tf.make_tensor_proto(tensor).SerializeToString()
  entry = _field(1, name.encode()) + _field(2, content)
  request = _field(1, model_spec) + _field(2, entry)
  return _field(6, _field(1, request))  # PredictionLog of a PredictLog.


def _field(number: int, content: bytes) -> bytes:
  """A field of a message that holds bytes, text or another message."""
  return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
  """Seven bits a byte, the lowest first; all but the last have the eighth."""
  low, rest = number & 0x7F, number >> 7
  return bytes([low | 0x80]) + _varint(rest) if rest else bytes([low])
