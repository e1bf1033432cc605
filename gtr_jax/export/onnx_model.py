"""ONNX: token ids in, unit vectors out; any number of rows, any length.

For onnxruntime and what stands on it.  Texts become ids by tokenizer.json.
"""

import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gtr_jax.checkpoints import names
from gtr_jax.export import (
  check,
  consumer_process,
  fast_tokenizer,
  model_card,
  onnx_file,
  onnx_graph,
  onnx_modules,
  onnx_usage,
  towers,
)
from gtr_jax.export import original as original_lib
from gtr_jax.files import optional
from gtr_jax.models import text_encoder
from gtr_jax.types import TowerName

# Of onnxruntime's, those that run any graph at once: no compiling first.
_PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")
_SERVER = "gtr_jax.export.onnx_server"


def write(original: original_lib.Original, directory: pathlib.Path) -> None:
  """Writes graphs, tokenizer, towers.json and a card.

  Raises:
    ValueError: bfloat16, or a model or vocabulary that has no form here.
  """
  if original.dtype != "float32":
    raise ValueError(
      f"--dtype={original.dtype} has no form for ONNX, whose runtime computes"
      " in float32 on a CPU; export it as float32, or as stablehlo"
    )
  written: set[str] = set()
  for tower, settings in towers.of(original).items():
    if settings.model in written:
      continue
    written.add(settings.model)
    graph, outputs = onnx_graph.of_tower(*_tower(original, tower))
    onnx_file.write(graph, outputs, directory / f"{settings.model}.onnx")
  longest = max(original.query_length, original.passage_length)
  fast_tokenizer.write(original.tokenizer.model_bytes, longest, directory)
  towers.write(original, directory)
  text = json.dumps(_config(original), indent=2) + "\n"
  (directory / "config.json").write_text(text, encoding="utf-8")
  if onnx_modules.fits(original):
    onnx_modules.write(original, directory)
  model_card.write(original, onnx_usage.usage(original), directory)


def load(directory: pathlib.Path) -> check.Export:
  """Reads it back by onnxruntime and tokenizers."""
  optional.load("onnxruntime", "onnx")
  return consumer_process.Loaded(_SERVER, directory, str(consumer()))


def consumer() -> str | None:
  """onnxruntime and its version."""
  return consumer_process.version("tokenizers", "onnxruntime")


def details() -> Mapping[str, Any]:
  """Of the description: what the graphs need of their reader."""
  return {
    "format": "onnx",
    "opset": onnx_file.OPSET,
    "inputs": list(onnx_graph.INPUTS),
    "import": ["onnxruntime", "tokenizers"],
    "onnx": optional.load("onnx", "onnx").__version__,
  }


def open_towers(
  directory: pathlib.Path,
) -> Callable[[np.ndarray, TowerName], np.ndarray]:
  """The towers as a function, in this process, by onnxruntime.

  Returns:
    Token ids int32 [n, L], 0 is padding, and a tower to float32 [n, D]; n and
    L may be 0.
  """
  library = optional.load("onnxruntime", "onnx")
  settings = towers.read(directory)
  names = {tower.model for tower in settings.values()}
  sessions = {
    name: _open(library, directory / f"{name}.onnx") for name in names
  }

  def encode(tokens: np.ndarray, tower: TowerName) -> np.ndarray:
    num_rows, length = tokens.shape
    # onnxruntime takes no maximum of nothing.
    padding = ((0, not num_rows), (0, not length))
    ids = np.pad(np.asarray(tokens, np.int64), padding)
    inputs = dict(zip(onnx_graph.INPUTS, (ids, np.sign(ids)), strict=True))
    session = sessions[settings[tower].model]
    return session.run([onnx_graph.TEXT_OUTPUT], inputs)[0][:num_rows]

  return encode


def _open(library: Any, path: pathlib.Path) -> Any:
  if not path.is_file():
    raise ValueError(f"{path}: no such file; export the model again")
  available = library.get_available_providers()
  providers = [name for name in _PROVIDERS if name in available]
  try:
    return library.InferenceSession(path, providers=providers)
  except Exception as error:  # It has a class for each kind of trouble.
    reason = str(error).partition("\n")[0]
    raise ValueError(
      f"{path}: onnxruntime does not read it ({reason:.200}); export the model"
      " again"
    ) from None


def _tower(
  original: original_lib.Original, name: TowerName
) -> tuple[text_encoder.TextEncoder, dict[str, Any]]:
  """A tower and its arrays, by the names that a shared tower's have."""
  model, arrays = original.model, names.flatten(original.params)
  if original.is_shared:
    return model.query_encoder, arrays
  prefix = f"{name}_encoder/"
  tower = model.query_encoder if name == "query" else model.passage_encoder
  assert tower is not None
  own = {key: x for key, x in arrays.items() if key.startswith(prefix)}
  return tower, {key.removeprefix(prefix): x for key, x in own.items()}


def _config(original: original_lib.Original) -> dict[str, Any]:
  """What fastembed and others ask of config.json, in transformers' words."""
  tower = original.model.query_encoder
  return {
    "architectures": ["T5EncoderModel"],
    "model_type": "t5",
    "vocab_size": tower.vocab_size,
    "d_model": tower.embed_dim,
    "d_kv": tower.encoder.head_dim,
    "d_ff": tower.encoder.mlp_dim,
    "num_layers": tower.encoder.num_layers,
    "num_heads": tower.encoder.num_heads,
    "is_encoder_decoder": False,
    "pad_token_id": 0,
    "eos_token_id": original.tokenizer.eos_id,
  }
