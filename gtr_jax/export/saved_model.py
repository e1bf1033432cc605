"""TensorFlow SavedModel: raw strings in, embeddings out.

SentencePiece, prompts and the cut to the length are in the graph; the model is
JAX's, as StableHLO that XLA compiles at the first call of each shape.
"""

import contextlib
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
import tensorflow as tf
import tensorflow_text
from jax.experimental import jax2tf
from jaxtyping import Float32, Int32

from gtr_jax.export import (
  check,
  consumer_process,
  cpu,
  model_card,
  serving_warmup,
  tokenizer_graph,
)
from gtr_jax.export import original as original_lib
from gtr_jax.types import TowerName

_SERVER = "gtr_jax.export.saved_model_server"
# Of those who tokenize for themselves; the graph has its own copy.
VOCABULARY_FILE = "assets.extra/spiece.model"
PLATFORMS = ("cpu", "cuda", "tpu")
# Each shape costs a compilation of seconds, so rows and lengths are rounded up
# to a few: powers of two and the halves between, at most a third is padding.
_SIZES = sorted({1 << n for n in range(31)} | {3 << n for n in range(29)})
_MIN_LENGTH = 16

Towers = Callable[
  [Int32[np.ndarray, "n l"], TowerName], Float32[np.ndarray, "n D"]
]
# Of one tensor; TensorFlow has no types that tell more.
TensorFunction = Callable[[Any], Any]

_USAGE = model_card.Usage(
  library_name="tensorflow",
  tags=["tensorflow", "saved-model"],
  how_to="""\
A TensorFlow SavedModel: texts in, unit vectors out.  It needs `tensorflow` and
`tensorflow_text`, not JAX; `gtr_export.json` names their versions.

```python
import tensorflow as tf
import tensorflow_text  # brings SentencePiece: without it loading fails

model = tf.saved_model.load("PATH")
queries = model.encode_query(tf.constant(["how do I parse json"]))
passages = model.encode_passage(tf.constant(["json: encoder and decoder"]))
scores = tf.matmul(queries, passages, transpose_b=True)  # cosines
```

Calls, and signatures for TF Serving; n and l are free:

- `encode_query`, `encode_passage`: `texts`, strings [n] → `embeddings`,
  float32 [n, D].  `serving_default` is `encode_query`.
- `encode_query_tokens`, `encode_passage_tokens`: `tokens`, int32 [n, l], EOS
  last, then zeros → `embeddings`, float32 [n, D].
- `tokenize_query`, `tokenize_passage`, no signatures: strings [n] → int32
  [n, l].

Prompts and EOS are added, longer texts are cut.  A batch takes the time of its
longest text, and the first one of a new shape waits for the compiler: send
batches of few sizes, such as 1 and 64.  TF Serving compiles the shapes of
`assets.extra/tf_serving_warmup_requests` before it answers.
""",
)


def write(original: original_lib.Original, directory: pathlib.Path) -> None:
  """Writes the SavedModel and a README; see it for what can be called."""
  _leave_gpus_to_jax()
  variables = jax.tree.map(_variable, original.written_params)
  tokenizer = tokenizer_graph.sentencepiece(original.tokenizer.model_bytes)
  functions = _functions(original, variables, tokenizer)
  # What the functions use must hang on the module to be saved.
  module = tf.Module()
  parts = {"params": variables, "sentencepiece": tokenizer, **functions}
  for name, part in parts.items():
    setattr(module, name, part)
  try:
    with _without_announcements():
      tf.saved_model.save(module, str(directory), _signatures(functions))
  except tf.errors.OpError as error:  # Such as a full disk.
    # Before the last "; " stand names of its own.
    reason = error.message.strip().partition("\n")[0].rpartition("; ")[2]
    raise ValueError(
      f"TensorFlow does not write {directory} ({reason:.100}); nothing was kept"
    ) from error
  serving_warmup.write(original, directory)
  vocabulary = directory / VOCABULARY_FILE
  vocabulary.write_bytes(original.tokenizer.model_bytes)
  model_card.write(original, _USAGE, directory)


def load(directory: pathlib.Path) -> check.Export:
  """Reads it back by TensorFlow alone, in a process of its own."""
  return consumer_process.Loaded(_SERVER, directory, consumer())


def open_towers(directory: pathlib.Path) -> Towers:
  """A SavedModel in this process: token ids, 0 is padding, to embeddings."""
  with _without_announcements():
    model: Any = tf.saved_model.load(str(directory))

  # The module goes with its variables if nothing holds it.
  def encode(tokens: np.ndarray, tower: TowerName) -> np.ndarray:
    function = getattr(model, f"encode_{tower}_tokens")
    return function(tf.constant(tokens, tf.int32)).numpy()

  return encode


def consumer() -> str:
  """TensorFlow and its version; without it nothing is written."""
  return f"tensorflow {tf.__version__}"


def details() -> Mapping[str, Any]:
  """Of the description: the calls, the platforms, what a reader must import."""
  return {
    "format": "savedmodel",
    "signatures": ["serving_default", *_INPUTS],
    "platforms": list(PLATFORMS),
    "import": ["tensorflow", "tensorflow_text"],
    "tensorflow": tf.__version__,
    "tensorflow_text": tensorflow_text.__version__,
  }


# Signature: its input.
_INPUTS = {
  "encode_query": tf.TensorSpec([None], tf.string, "texts"),
  "encode_passage": tf.TensorSpec([None], tf.string, "texts"),
  "encode_query_tokens": tf.TensorSpec([None, None], tf.int32, "tokens"),
  "encode_passage_tokens": tf.TensorSpec([None, None], tf.int32, "tokens"),
}


def _variable(array: Any) -> tf.Variable:
  """A variable that shares the memory of an array on the CPU."""
  array = jax.device_put(array, cpu.device())
  # TensorFlow reads 64 bytes at a time; from elsewhere it copies.
  if array.size and array.unsafe_buffer_pointer() % 64 == 0:
    tensor = tf.experimental.dlpack.from_dlpack(array.__dlpack__())
  else:
    tensor = tf.convert_to_tensor(np.asarray(array))
  return tf.Variable(tensor, trainable=False)


def _functions(
  original: original_lib.Original,
  variables: Any,
  tokenizer: tensorflow_text.SentencepieceTokenizer,
) -> dict[str, Any]:
  """All that the SavedModel can do, by name; one tensor in, one out."""
  functions: dict[str, Any] = {}
  towers: dict[Callable, Any] = {}
  for tower, encode in original.encoders().items():
    # A shared tower is one function here too: its program is stored once.
    if encode not in towers:
      towers[encode] = _graph(
        _encode_tokens(encode, variables), _INPUTS[f"encode_{tower}_tokens"]
      )
    tokenize = _tokenize(original, tokenizer, tower)
    encode_texts = _encode_texts(tokenize, towers[encode])
    texts = _INPUTS[f"encode_{tower}"]
    functions[f"tokenize_{tower}"] = _graph(tokenize, texts)
    functions[f"encode_{tower}"] = _graph(encode_texts, texts)
    functions[f"encode_{tower}_tokens"] = towers[encode]
  return functions


def _tokenize(
  original: original_lib.Original,
  tokenizer: tensorflow_text.SentencepieceTokenizer,
  tower: TowerName,
) -> TensorFunction:
  return lambda texts: tokenizer_graph.token_ids(
    tokenizer,
    texts,
    original.prompt(tower),
    original.length(tower),
    original.tokenizer.eos_id,
  )


def _encode_texts(
  tokenize: TensorFunction, encode_tokens: TensorFunction
) -> TensorFunction:
  return lambda texts: encode_tokens(tokenize(texts))


def _encode_tokens(encode: Callable, variables: Any) -> TensorFunction:
  """The JAX function as a TensorFlow function of int32 [n, l], also [0, 0]."""
  converted = jax2tf.convert(
    encode,
    polymorphic_shapes=[None, "(b, l)"],
    with_gradient=False,
    native_serialization_platforms=PLATFORMS,
  )

  def encode_tokens(tokens: tf.Tensor) -> tf.Tensor:
    num_rows, length = tf.unstack(tf.shape(tokens))
    more_rows = _rounded_up(num_rows) - num_rows
    more_tokens = _rounded_up(tf.maximum(length, _MIN_LENGTH)) - length
    padded = tf.pad(tokens, [[0, more_rows], [0, more_tokens]])
    return converted(variables, padded)[:num_rows]

  return encode_tokens


def _rounded_up(size: tf.Tensor) -> tf.Tensor:
  sizes = tf.constant(_SIZES, tf.int32)
  return tf.gather(sizes, tf.searchsorted(sizes, size[None])[0])


def _graph(function: TensorFunction, spec: tf.TensorSpec) -> Any:
  return tf.function(function, input_signature=[spec], autograph=False)


def _signatures(functions: Mapping[str, Any]) -> dict[str, Any]:
  """TF Serving's entries: named inputs, {"embeddings": float32 [n, D]}."""
  signatures = {
    name: _graph(_named(functions[name]), spec)
    for name, spec in _INPUTS.items()
  }
  return {"serving_default": signatures["encode_query"], **signatures}


def _named(function: TensorFunction) -> TensorFunction:
  return lambda inputs: {"embeddings": function(inputs)}


def _leave_gpus_to_jax() -> None:
  """TensorFlow would take all of a GPU's memory, and here it only writes."""
  # Too late if TensorFlow has run something already.
  with contextlib.suppress(RuntimeError):
    tf.config.set_visible_devices([], "GPU")


@contextlib.contextmanager
def _without_announcements():
  """Without TensorFlow's lines on where assets and fingerprints go."""
  logger = tf.get_logger()
  level = logger.level
  logger.setLevel("ERROR")
  try:
    yield
  finally:
    logger.setLevel(level)
