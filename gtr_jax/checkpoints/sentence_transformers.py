"""A folder of sentence-transformers: modules.json and what it names.

Read are those that are a GTR or ST5: a T5 encoder, the mean of its tokens, one
matrix without bias (or none), unit length.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from gtr_jax.checkpoints import huggingface, lazy_arrays

MODULES_FILE = "modules.json"
PROMPTS_FILE = "config_sentence_transformers.json"
LENGTH_FILE = "sentence_bert_config.json"
# sentence-transformers 6 keeps the length with the tokenizer alone.
_TOKENIZER_SETTINGS_FILE = "tokenizer_config.json"
# What transformers writes for "no limit" is 10**30.
_MOST_LENGTH = 10**6
PROJECTION = "projection_layer/kernel"
_DUE = "due are Transformer, Pooling, at most one Dense, Normalize"
_IDENTITY = ("torch.nn.modules.linear.Identity", "torch.nn.Identity")
_QUERY = ("query",)
_PASSAGE = ("document", "passage", "corpus")


def read(
  folder: pathlib.Path, say: Callable[[str], None] = lambda line: None
) -> huggingface.Checkpoint:
  """Opens a folder of sentence-transformers' `save`.

  Without a Dense the projection is the identity matrix, which changes nothing.

  Raises:
    ValueError: modules that make another embedding than ours; a broken file.
  """
  modules = _modules(folder)
  transformer, pooling, *dense = modules
  _check_pooling(folder / pooling)
  settings = _settings(folder / transformer)
  checkpoint = huggingface.read(folder / transformer, say)
  width = checkpoint.arrays["token_embedder/embedding"].shape[1]
  if dense:
    projection, unused = _dense(folder / dense[0], say)
  else:
    say(f"{folder}: no Dense; the projection is the identity")
    projection, unused = _identity(width), ()
  query_prompt, passage_prompt = prompts(folder)
  return dataclasses.replace(
    checkpoint,
    arrays={**checkpoint.arrays, PROJECTION: projection},
    unused=(*checkpoint.unused, *unused),
    query_prompt=query_prompt,
    passage_prompt=passage_prompt,
    max_length=_max_length(folder / transformer, settings),
  )


def _modules(folder: pathlib.Path) -> list[str]:
  """Folders of Transformer, Pooling and, if it is there, Dense."""
  path = folder / MODULES_FILE
  listed = huggingface.json_of(path)
  try:
    kinds = [str(module["type"]).rpartition(".")[2] for module in listed]
    places = [str(module["path"]) for module in listed]
  except (TypeError, KeyError) as error:
    raise ValueError(f"{path}: no list of modules ({error!r})") from None
  if kinds == ["Transformer", "Pooling", "Dense"] or kinds == [
    "Transformer",
    "Pooling",
  ]:
    raise ValueError(
      f"{path}: has no Normalize, and embeddings here have unit length; add"
      " sentence_transformers.models.Normalize to it (cosines stay the same)"
    )
  if kinds not in (
    ["Transformer", "Pooling", "Normalize"],
    ["Transformer", "Pooling", "Dense", "Normalize"],
  ):
    listed = ", ".join(kinds) or "none"
    raise ValueError(f"{path}: modules are {listed}; {_DUE}")
  return places[:-1]


def _check_pooling(folder: pathlib.Path) -> None:
  path = folder / huggingface.CONFIG_FILE
  config = _mapping(path)
  mode = config.get("pooling_mode")
  if mode is None:
    on = [
      key.removeprefix("pooling_mode_")
      for key, value in config.items()
      if key.startswith("pooling_mode_") and value is True
    ]
    if not on and config.get("pooling_mode_mean_tokens", True):
      on = ["mean_tokens"]  # The default.
    mode = "mean" if on == ["mean_tokens"] else "+".join(on) or "none"
  if mode not in ("mean", ["mean"]):
    raise ValueError(f"{path}: the pooling is {mode}, due is the mean")
  if config.get("include_prompt") is False:
    raise ValueError(
      f"{path}: include_prompt is false: the mean leaves the prompt's tokens"
      " out, which is not done here"
    )


def _settings(folder: pathlib.Path) -> Mapping[str, Any]:
  path = folder / LENGTH_FILE
  settings = _mapping(path) if path.is_file() else {}
  if settings.get("do_lower_case"):
    raise ValueError(
      f"{path}: do_lower_case is true, and texts are not changed here"
    )
  return settings


def _max_length(
  transformer: pathlib.Path, settings: Mapping[str, Any]
) -> int | None:
  """Tokens of a text that the library reads; None if the folder says none."""
  length = settings.get("max_seq_length")
  path = transformer / _TOKENIZER_SETTINGS_FILE
  if length is None and path.is_file():
    found = _mapping(path).get("model_max_length")
    is_limit = isinstance(found, int) and 0 < found <= _MOST_LENGTH
    length = found if is_limit else None
  return length


def _dense(
  folder: pathlib.Path, say: Callable[[str], None]
) -> tuple[lazy_arrays.LazyArray, tuple[str, ...]]:
  path = folder / huggingface.CONFIG_FILE
  config = _mapping(path)
  activation = config.get("activation_function")
  if activation not in _IDENTITY:
    raise ValueError(
      f"{path}: activation_function is {activation}, due is {_IDENTITY[0]}"
    )
  if config.get("bias", True):
    raise ValueError(f"{path}: bias is true, GTR's projection has none")
  stored = lazy_arrays.open_folder(folder, say)
  if "linear.weight" not in stored:
    raise ValueError(
      f"{folder}: holds {', '.join(stored) or 'no array'}, due is linear.weight"
    )
  weight = stored["linear.weight"]
  due = (config.get("out_features"), config.get("in_features"))
  if weight.shape != due:
    raise ValueError(
      f"{folder}: linear.weight is {weight.shape}, by its config {due}"
    )
  unused = tuple(f"{folder.name}/{k}" for k in stored if k != "linear.weight")
  return weight.transposed, unused


def _identity(width: int) -> lazy_arrays.LazyArray:
  return lazy_arrays.in_memory(np.eye(width, dtype=np.float32))


def prompts(folder: pathlib.Path) -> tuple[str, str]:
  """What the folder puts before a query and before a passage.

  Raises:
    ValueError: a broken file.
  """
  path = folder / PROMPTS_FILE
  config = _mapping(path) if path.is_file() else {}
  known = config.get("prompts") or {}
  if not isinstance(known, Mapping) or not all(
    isinstance(prompt, str) for prompt in known.values()
  ):
    raise ValueError(f"{path}: prompts are {known!r:.60}, not texts by name")
  return _prompt(config, _QUERY), _prompt(config, _PASSAGE)


def _prompt(config: Mapping[str, Any], wanted: Sequence[str]) -> str:
  """As `encode_query` and `encode_document` choose it."""
  known = config.get("prompts") or {}
  default = config.get("default_prompt_name")
  for name in (*wanted, default):
    if name in known:
      return known[name]
  return ""


def _mapping(path: pathlib.Path) -> Mapping[str, Any]:
  content = huggingface.json_of(path)
  if not isinstance(content, Mapping):
    raise ValueError(f"{path}: holds no JSON object")
  return content
