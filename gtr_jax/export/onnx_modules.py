"""What makes an ONNX folder one of sentence-transformers' with ONNX below.

Its ONNX backend reads the projected tokens and pools them by itself.
"""

import json
import pathlib
from typing import Any

from gtr_jax.checkpoints import sentence_transformers as layout
from gtr_jax.export import onnx_pooling
from gtr_jax.export import original as original_lib

_MODULES = {
  "": "Transformer",
  "1_Pooling": "Pooling",
  "2_Normalize": "Normalize",
}


def fits(original: original_lib.Original) -> bool:
  """Whether it has a form there: one tower, the mean of the tokens."""
  pooling_fn = original.model.query_encoder.pooling_fn
  return original.is_shared and onnx_pooling.is_mean(pooling_fn)


def write(original: original_lib.Original, directory: pathlib.Path) -> None:
  """Writes modules.json and what it names."""
  for path in filter(None, _MODULES):
    (directory / path).mkdir()
  modules = [
    {
      "idx": number,
      "name": str(number),
      "path": path,
      # The oldest names, which all versions know.
      "type": f"sentence_transformers.models.{kind}",
    }
    for number, (path, kind) in enumerate(_MODULES.items())
  ]
  _write_json(directory / layout.MODULES_FILE, modules)
  pooling = {
    "word_embedding_dimension": original.embedding_dim,
    "pooling_mode_cls_token": False,
    "pooling_mode_mean_tokens": True,
    "pooling_mode_max_tokens": False,
    "pooling_mode_mean_sqrt_len_tokens": False,
  }
  _write_json(directory / "1_Pooling" / "config.json", pooling)
  longest = max(original.query_length, original.passage_length)
  length = {"max_seq_length": longest, "do_lower_case": False}
  _write_json(directory / layout.LENGTH_FILE, length)
  tokenizer = original.tokenizer
  prompts = {
    "prompts": {
      "query": tokenizer.query_prompt,
      "document": tokenizer.passage_prompt,
    },
    "default_prompt_name": None,
    "similarity_fn_name": "cosine",
  }
  _write_json(directory / layout.PROMPTS_FILE, prompts)


def _write_json(path: pathlib.Path, content: Any) -> None:
  text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
  path.write_text(text, encoding="utf-8")
