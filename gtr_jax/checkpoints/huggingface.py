"""T5 as Hugging Face's transformers keeps it: config.json and weights.

T5Model, T5EncoderModel and T5ForConditionalGeneration have the same encoder
under the same names.  PyTorch's Linear keeps [out, in]; ours is [in, out].
"""

import dataclasses
import json
import pathlib
import re
from collections.abc import Callable, Mapping
from typing import Any

from gtr_jax.checkpoints import lazy_arrays, names, sizes, tokenizer_json

CONFIG_FILE = "config.json"
VOCABULARY_FILE = "spiece.model"
_MODEL_TYPES = ("t5", "mt5")
# Array: ours.  Matrices are transposed, but for the token table.
_TOP = {
  "shared.weight": "token_embedder/embedding",
  "encoder.final_layer_norm.weight": "encoder/encoder_norm/scale",
  "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight": (
    "encoder/relpos_bias/rel_embedding"
  ),
}
_OF_A_BLOCK = {
  "layer.0.layer_norm": "pre_attention_layer_norm/scale",
  "layer.0.SelfAttention.q": "attention/query/kernel",
  "layer.0.SelfAttention.k": "attention/key/kernel",
  "layer.0.SelfAttention.v": "attention/value/kernel",
  "layer.0.SelfAttention.o": "attention/out/kernel",
  "layer.1.layer_norm": "pre_mlp_layer_norm/scale",
  "layer.1.DenseReluDense.wi": "mlp/wi/kernel",
  "layer.1.DenseReluDense.wi_0": "mlp/wi_0/kernel",
  "layer.1.DenseReluDense.wi_1": "mlp/wi_1/kernel",
  "layer.1.DenseReluDense.wo": "mlp/wo/kernel",
}
_EXAMPLE = "encoder.block.0.layer.0.SelfAttention.q.weight"
_BLOCK = re.compile(r"encoder\.block\.(\d+)\.(.+)\.weight")
_COPIES = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight")
# What is not ours by design: the half of T5 that makes text.
_DECODER = re.compile(r"decoder[./].*|lm_head\.weight")
# config.json: our sizes.
_SIZES = {
  "vocab_size": "vocab_size",
  "d_model": "embed_dim",
  "d_kv": "head_dim",
  "d_ff": "mlp_dim",
  "num_layers": "num_layers",
  "num_heads": "num_heads",
  "relative_attention_num_buckets": "num_buckets",
}
_MALFORMED = (ValueError, TypeError, KeyError, AttributeError)


@dataclasses.dataclass(frozen=True)
class Checkpoint:
  """Another library's model, its arrays still on disk.

  Attributes:
    arrays: under flat T5X names, float32 when read.
    unused: names in the files that have no place in an encoder.
    max_distance: of relative positions, from the config.
    vocabulary: the SentencePiece model beside it, else its tokenizer.json, if
      there is one.
    query_prompt, passage_prompt: text put before each text of a tower.
    max_length: tokens of a text that the model's own library reads, if said.
    step: number of updates that the checkpoint tells of.
  """

  arrays: dict[str, lazy_arrays.LazyArray]
  unused: tuple[str, ...]
  max_distance: int
  vocabulary: pathlib.Path | None = None
  query_prompt: str = ""
  passage_prompt: str = ""
  max_length: int | None = None
  step: int = 0


def read(
  folder: pathlib.Path, say: Callable[[str], None] = lambda line: None
) -> Checkpoint:
  """Opens a folder of transformers' `save_pretrained`.

  Args:
    folder: config.json and model.safetensors, or its shards.
    say: takes lines for the user.

  Raises:
    ValueError: another architecture, a size that the arrays do not have, or a
      broken file; in one line.
  """
  config = json_of(folder / CONFIG_FILE)
  _check_architecture(folder, config)
  stored = lazy_arrays.open_folder(folder, say)
  arrays, unused = _renamed(folder, stored)
  if not any(name.startswith("encoder/layers_") for name in arrays):
    raise ValueError(
      f"{folder}: none of its {len(stored)} arrays is a T5 layer's; it holds"
      f" {', '.join(list(stored)[:2])} …, due are names such as {_EXAMPLE}"
    )
  try:
    found = sizes.from_arrays(arrays)
  except ValueError as error:
    raise ValueError(f"{folder}: {error}") from None
  _check_sizes(folder, config, found)
  return Checkpoint(
    arrays,
    unused,
    max_distance=_max_distance(folder, config),
    vocabulary=vocabulary_of(folder),
  )


def vocabulary_of(folder: pathlib.Path) -> pathlib.Path | None:
  """spiece.model, else tokenizer.json, else None."""
  found = [folder / VOCABULARY_FILE, folder / tokenizer_json.FILE]
  return next((path for path in found if path.is_file()), None)


def is_of_decoder(name: str) -> bool:
  """Whether an unused array is the decoder's, which an encoder leaves out."""
  return _DECODER.fullmatch(name) is not None


def json_of(path: pathlib.Path) -> Any:
  """A JSON file's content.

  Raises:
    ValueError: not there, or not JSON.
  """
  try:
    return json.loads(path.read_bytes())
  except OSError as error:
    raise ValueError(
      f"{path}: cannot be read ({error.strerror}); was the folder copied whole?"
    ) from None
  except ValueError as error:
    raise ValueError(
      f"{path}: broken or cut, no JSON ({error!s:.200})"
    ) from None


def _check_architecture(
  folder: pathlib.Path, config: Mapping[str, Any]
) -> None:
  path = folder / CONFIG_FILE
  kind = config.get("model_type") if isinstance(config, Mapping) else None
  if kind not in _MODEL_TYPES:
    raise ValueError(
      f"{path}: model_type is {kind!r}, due is one of"
      f" {', '.join(_MODEL_TYPES)}: T5 1.0, 1.1 or mT5"
    )
  forward = _forward(config)
  if forward not in ("relu", "gated-gelu"):
    raise ValueError(
      f"{path}: feed_forward_proj is {forward!r}, due is 'relu' (T5 1.0) or"
      " 'gated-gelu' (T5 1.1)"
    )
  epsilon = config.get("layer_norm_epsilon", 1e-6)
  if epsilon != 1e-6:
    raise ValueError(
      f"{path}: layer_norm_epsilon is {epsilon!r}, T5's is 1e-06; another one"
      " gives other embeddings"
    )


def _forward(config: Mapping[str, Any]) -> Any:
  default = "gated-gelu" if config["model_type"] == "mt5" else "relu"
  return config.get("feed_forward_proj", default)


def _max_distance(folder: pathlib.Path, config: Mapping[str, Any]) -> int:
  distance = config.get("relative_attention_max_distance", 128)
  if type(distance) is not int:
    raise ValueError(
      f"{folder / CONFIG_FILE}: relative_attention_max_distance is"
      f" {distance!r}, due is a whole number"
    )
  return distance


def _renamed(
  folder: pathlib.Path, stored: Mapping[str, lazy_arrays.LazyArray]
) -> tuple[dict[str, lazy_arrays.LazyArray], tuple[str, ...]]:
  """(arrays under our names, names of those that have none)."""
  copies = [name for name in _COPIES if name in stored]
  tables = {"shared.weight": stored.get("shared.weight")}
  if tables["shared.weight"] is None and _COPIES[0] in stored:
    tables["shared.weight"] = stored[_COPIES[0]]
  elif _COPIES[0] in copies:
    _check_copy(folder, stored)
  tied = {k: v for k, v in tables.items() if v is not None}
  arrays, unused = {}, []
  for name, array in {**stored, **tied}.items():
    ours = _name(name)
    if ours is not None:
      is_table = ours == _TOP["shared.weight"]
      arrays[ours] = array if is_table else array.transposed
    elif name != _COPIES[0]:
      unused.append(name)
  return arrays, tuple(sorted(unused))


def _check_copy(
  folder: pathlib.Path, stored: Mapping[str, lazy_arrays.LazyArray]
) -> None:
  if not lazy_arrays.are_equal(stored["shared.weight"], stored[_COPIES[0]]):
    raise ValueError(
      f"{folder}: {_COPIES[0]} is not shared.weight; T5 has one token table"
    )


def _name(theirs: str) -> str | None:
  """Our name of an array, None if an encoder has no such array."""
  if theirs in _TOP:
    return _TOP[theirs]
  match = _BLOCK.fullmatch(theirs)
  if match is None or match[2] not in _OF_A_BLOCK:
    return None
  return f"encoder/layers_{int(match[1])}/{_OF_A_BLOCK[match[2]]}"


def _check_sizes(
  folder: pathlib.Path, config: Mapping[str, Any], found: sizes.Sizes
) -> None:
  """Refuses arrays that are not those that config.json speaks of."""
  wrong = [
    f"{key} is {config[key]!r}, of the arrays {getattr(found, size)}"
    for key, size in _SIZES.items()
    if key in config and config[key] != getattr(found, size)
  ]
  forward = _forward(config)
  if (forward == "gated-gelu") != found.gated:
    wrong.append(
      f"feed_forward_proj is {forward!r}, the arrays are of"
      f" {'T5 1.1' if found.gated else 'T5 1.0'}"
    )
  if wrong:
    raise ValueError(f"{folder / CONFIG_FILE}: {'; '.join(wrong)}")


def name_of(ours: str) -> str:
  """The reverse: Hugging Face's name of one of our arrays.

  Raises:
    ValueError: an array that a T5 encoder of theirs does not have.
  """
  for theirs, name in _TOP.items():
    if name == ours:
      return theirs
  match = re.fullmatch(r"encoder/layers_(\d+)/(.+)", ours)
  parts = {name: theirs for theirs, name in _OF_A_BLOCK.items()}
  if match is None or match[2] not in parts:
    near = ", ".join(names.nearest(ours, [*_TOP.values(), *parts]))
    raise ValueError(f"{ours}: no array of a T5 encoder; the nearest: {near}")
  return f"encoder.block.{match[1]}.{parts[match[2]]}.weight"
