"""A folder that `SentenceTransformer(path)` loads, and all that build on it.

T5 encoder, mean of the tokens, a matrix without bias, unit length; float32 or
bfloat16 in safetensors.  It is read back by sentence-transformers itself, in a
process of its own, where that is installed.
"""

import inspect
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from gtr_jax.checkpoints import huggingface, names, sizes
from gtr_jax.checkpoints import sentence_transformers as layout
from gtr_jax.export import (
  check,
  consumer_process,
  fast_tokenizer,
  model_card,
  own_reading,
  safetensors_files,
)
from gtr_jax.export import original as original_lib
from gtr_jax.layers import mlp, pooling
from gtr_jax.models import text_encoder

WEIGHTS_FILE = "model.safetensors"
_SERVER = "gtr_jax.export.sentence_transformers_server"
_MODULES = {
  "": "Transformer",
  "1_Pooling": "Pooling",
  "2_Dense": "Dense",
  "3_Normalize": "Normalize",
}
# The activations of T5 1.0 and 1.1, and what Hugging Face calls them.
_FORWARD = {
  (mlp.relu,): "relu",
  (mlp.gelu_gate, mlp.linear_gate): "gated-gelu",
}

_USAGE = model_card.Usage(
  library_name="sentence-transformers",
  tags=["sentence-transformers"],
  how_to="""\
```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("PATH")
queries = model.encode_query(["how do I parse json"])
passages = model.encode_document(["json: encoder and decoder"])
scores = model.similarity(queries, passages)  # cosines
```

`encode_query` and `encode_document` put the prompts first; `encode` puts none
unless `prompt_name` is "query" or "document".
""",
)


def write(original: original_lib.Original, directory: pathlib.Path) -> None:
  """Writes the folder.

  Raises:
    ValueError: a model that sentence-transformers' modules cannot be: separate
      towers, another pooling or activation, two lengths.
  """
  tower = _tower(original)
  forward = _forward(tower)
  arrays = names.flatten(original.written_params)
  _write_transformer(directory, arrays, tower, forward)
  fast_tokenizer.write(
    original.tokenizer.model_bytes, original.passage_length, directory
  )
  _write_modules(directory, original, arrays[layout.PROJECTION])
  model_card.write(original, _USAGE, directory)


def load(directory: pathlib.Path) -> check.Export:
  """Reads it back: by sentence-transformers, or by our own import."""
  library = consumer()
  if library is None:
    return own_reading.Loaded(directory)
  return consumer_process.Loaded(_SERVER, directory, library)


def consumer() -> str | None:
  """sentence-transformers and its version, None if it is not installed."""
  return consumer_process.version(
    "torch", "transformers", "sentence-transformers"
  )


def details() -> Mapping[str, Any]:
  """Of the description: the format."""
  return {"format": "sentence-transformers"}


def _tower(original: original_lib.Original) -> text_encoder.TextEncoder:
  if not original.is_shared:
    raise ValueError(
      "the model has separate towers, and a folder of sentence-transformers has"
      " one; export it as a savedmodel"
    )
  if original.query_length != original.passage_length:
    raise ValueError(
      f"query_length is {original.query_length}, passage_length"
      f" {original.passage_length}: a folder of sentence-transformers has one"
    )
  tower = original.model.query_encoder
  if inspect.unwrap(tower.pooling_fn) is not pooling.mean:
    raise ValueError(
      "the model's pooling is not the mean, which is all that is written for"
      " sentence-transformers; export it as a savedmodel"
    )
  return tower


def _forward(tower: text_encoder.TextEncoder) -> str:
  activations = tuple(map(inspect.unwrap, tower.encoder.activations))
  if activations not in _FORWARD:
    raise ValueError(
      "the MLP's activations are neither T5 1.0's (relu) nor T5 1.1's"
      " (gelu_gate, linear_gate), which is all that Hugging Face's T5 has"
    )
  return _FORWARD[activations]


def _write_transformer(
  directory: pathlib.Path,
  arrays: Mapping[str, Any],
  tower: text_encoder.TextEncoder,
  forward: str,
) -> None:
  """config.json and the encoder's weights, as T5EncoderModel has them."""
  theirs = {
    # Their matrices go from inputs to outputs; the table has a row a token.
    huggingface.name_of(name): safetensors_files.Part(
      array, is_transposed=not name.startswith("token_embedder/")
    )
    for name, array in arrays.items()
    if name != layout.PROJECTION and name.startswith(_OF_A_TOWER)
  }
  safetensors_files.write(directory / WEIGHTS_FILE, theirs)
  encoder, found = tower.encoder, sizes.from_arrays(arrays)
  _write_json(
    directory / huggingface.CONFIG_FILE,
    {
      "architectures": ["T5EncoderModel"],
      "model_type": "t5",
      "vocab_size": found.vocab_size,
      "d_model": found.embed_dim,
      "d_kv": found.head_dim,
      "d_ff": found.mlp_dim,
      "num_layers": found.num_layers,
      "num_decoder_layers": 0,
      "num_heads": found.num_heads,
      "relative_attention_num_buckets": found.num_buckets,
      "relative_attention_max_distance": (
        encoder.relative_attention_max_distance
      ),
      "feed_forward_proj": forward,
      "layer_norm_epsilon": 1e-6,
      "dropout_rate": encoder.dropout_rate,
      "initializer_factor": 1.0,
      "is_encoder_decoder": False,
      "use_cache": False,
      "pad_token_id": 0,
      "eos_token_id": 1,
      # Never float16, which some loaders take where nothing is said.
      "torch_dtype": str(arrays[layout.PROJECTION].dtype),
    },
  )


# A learned temperature is the loss's, not the encoder's.
_OF_A_TOWER = ("token_embedder/", "encoder/")


def _write_modules(
  directory: pathlib.Path,
  original: original_lib.Original,
  projection: Any,
) -> None:
  width, dim = projection.shape
  for path in filter(None, _MODULES):
    (directory / path).mkdir()
  _write_json(
    directory / layout.MODULES_FILE,
    [
      {
        "idx": number,
        "name": str(number),
        "path": path,
        # The oldest names, which all versions and other readers know.
        "type": f"sentence_transformers.models.{kind}",
      }
      for number, (path, kind) in enumerate(_MODULES.items())
    ],
  )
  config = huggingface.CONFIG_FILE
  _write_json(
    directory / "1_Pooling" / config,
    {
      "word_embedding_dimension": width,
      "pooling_mode_cls_token": False,
      "pooling_mode_mean_tokens": True,
      "pooling_mode_max_tokens": False,
      "pooling_mode_mean_sqrt_len_tokens": False,
    },
  )
  _write_json(
    directory / "2_Dense" / config,
    {
      "in_features": width,
      "out_features": dim,
      "bias": False,
      "activation_function": "torch.nn.modules.linear.Identity",
    },
  )
  safetensors_files.write(
    directory / "2_Dense" / WEIGHTS_FILE,
    {"linear.weight": safetensors_files.Part(projection, is_transposed=True)},
  )
  _write_json(
    directory / layout.LENGTH_FILE,
    {"max_seq_length": original.passage_length, "do_lower_case": False},
  )
  tokenizer = original.tokenizer
  _write_json(
    directory / layout.PROMPTS_FILE,
    {
      "prompts": {
        "query": tokenizer.query_prompt,
        "document": tokenizer.passage_prompt,
      },
      "default_prompt_name": None,
      "similarity_fn_name": "cosine",
    },
  )


def _write_json(path: pathlib.Path, content: Any) -> None:
  text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
  path.write_text(text, encoding="utf-8")
