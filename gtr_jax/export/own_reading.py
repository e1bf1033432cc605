"""A folder of sentence-transformers as `gtr import` and `tokenizers` read it.

Where sentence-transformers is not installed this is all that can be compared:
the arrays under their new names, and the token ids.
"""

import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Float32, Int32

from gtr_jax.checkpoints import names, sizes
from gtr_jax.checkpoints import sentence_transformers as layout
from gtr_jax.export import cpu, fast_tokenizer
from gtr_jax.files import optional
from gtr_jax.layers import mlp
from gtr_jax.models import dual_encoder, t5_encoder, text_encoder
from gtr_jax.types import TowerName


class Loaded:
  """The folder read back; an `export.check.Export`."""

  def __init__(self, directory: pathlib.Path):
    library = optional.load("tokenizers", "interop")
    checkpoint = layout.read(directory)
    self._tokenizer = library.Tokenizer.from_file(
      str(directory / fast_tokenizer.TOKENIZER_FILE)
    )
    self._prompts = {
      "query": checkpoint.query_prompt,
      "passage": checkpoint.passage_prompt,
    }
    self._tokenizer.enable_truncation(checkpoint.max_length)
    self._model = model_of(checkpoint.arrays, checkpoint.max_distance)
    self._params = names.unflatten(
      {name: np.asarray(array) for name, array in checkpoint.arrays.items()}
    )

  def token_ids(
    self, texts: Sequence[str], tower: TowerName
  ) -> Int32[np.ndarray, "n l"]:
    prompt = self._prompts[tower]
    encoded = self._tokenizer.encode_batch([prompt + text for text in texts])
    longest = max((len(row.ids) for row in encoded), default=0)
    ids = np.zeros((len(encoded), longest), np.int32)
    for row, new in zip(ids, encoded, strict=True):
      row[: len(new.ids)] = new.ids
    return ids

  def embeddings(
    self, texts: Sequence[str], tower: TowerName
  ) -> Float32[np.ndarray, "n D"]:
    if not texts:
      width = self._model.query_encoder.projection_dim
      return np.zeros((0, width), np.float32)
    ids = self.token_ids(texts, tower)
    # Few shapes: each is compiled.
    padded = np.pad(ids, ((0, 0), (0, -ids.shape[1] % 64)))
    with jax.default_device(cpu.device()):
      return np.asarray(self._encode(self._params, padded))

  @functools.cached_property
  def _encode(self):
    return jax.jit(
      lambda params, tokens: self._model.apply(
        {"params": params}, tokens, method="encode_query"
      )
    )


def model_of(
  arrays: Mapping[str, Any], max_distance: int, dtype: str = "float32"
) -> dual_encoder.DualEncoder:
  """The model with one tower and the mean that has these arrays.

  Args:
    arrays: by flat names, in memory or not.
    max_distance: of relative positions, which no array tells.
    dtype: of the activations.
  """
  found = sizes.from_arrays(arrays)
  encoder = t5_encoder.T5Encoder(
    num_layers=found.num_layers,
    num_heads=found.num_heads,
    head_dim=found.head_dim,
    mlp_dim=found.mlp_dim,
    activations=(
      (mlp.gelu_gate, mlp.linear_gate) if found.gated else (mlp.relu,)
    ),
    relative_attention_num_buckets=found.num_buckets,
    relative_attention_max_distance=max_distance,
    dtype=dtype,
  )
  width = arrays[layout.PROJECTION].shape[1]
  return dual_encoder.DualEncoder(
    text_encoder.TextEncoder(
      encoder, found.vocab_size, found.embed_dim, projection_dim=width
    )
  )
