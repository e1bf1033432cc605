"""T5X's own format, so that users of T5X Retrieval can go on.

A checkpoint that every T5X reads, the gin file of its model, the vocabulary.
It is read back by T5X's own code and Flaxformer's model, in a process of its
own, where both are installed.
"""

import inspect
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Float32, Int32

from gtr_jax.checkpoints import names, sizes, t5x, t5x_writing
from gtr_jax.export import (
  check,
  consumer_process,
  cpu,
  fast_tokenizer,
  model_card,
  own_reading,
  plain_tokens,
  t5x_gin,
  towers,
)
from gtr_jax.export import original as original_lib
from gtr_jax.layers import pooling
from gtr_jax.types import TowerName

_SERVER = "gtr_jax.export.t5x_server"
# A learned temperature is the loss's, for which T5X Retrieval has no array.
_OF_A_TOWER = ("token_embedder/", "encoder/", "projection_layer/")


def write(original: original_lib.Original, directory: pathlib.Path) -> None:
  """Writes the checkpoint, one array after the other, and what is beside it.

  Raises:
    ValueError: a model that T5X Retrieval has no form for: separate towers,
      another pooling.
  """
  _check(original)
  arrays = {
    name: array
    for name, array in names.flatten(original.params).items()
    if name.startswith(_OF_A_TOWER)
  }
  t5x_writing.write_t5x(directory, original.step, arrays, original.dtype)
  vocabulary = directory / fast_tokenizer.VOCABULARY_FILE
  vocabulary.write_bytes(original.tokenizer.model_bytes)
  towers.write(original, directory)
  found = sizes.from_arrays(arrays)
  model = t5x_gin.model(original, found)
  (directory / t5x_gin.MODEL_FILE).write_text(model, encoding="utf-8")
  model_card.write(original, t5x_gin.usage(original), directory)


def load(directory: pathlib.Path) -> check.Export:
  """Reads it back: by T5X and Flaxformer, or by our own import."""
  library = consumer()
  if library is None:
    return Loaded(directory)
  return consumer_process.Loaded(_SERVER, directory, library)


def consumer() -> str | None:
  """T5X and its version, None if it or T5X Retrieval is not installed."""
  return consumer_process.version("flaxformer", "t5x-retrieval", "t5x")


def details() -> Mapping[str, Any]:
  """Of the description: the format."""
  return {"format": "t5x", "optimizer_state": False}


def _check(original: original_lib.Original) -> None:
  if not original.is_shared:
    raise ValueError(
      "the model has separate towers, and T5X Retrieval's model has one; export"
      " it as a savedmodel"
    )
  pool = original.model.query_encoder.pooling_fn
  if inspect.unwrap(pool) is not pooling.mean:
    raise ValueError(
      "the model's pooling is not the mean, which is all that is written for"
      " T5X; export it as a savedmodel"
    )


class Loaded:
  """The folder by our own import; an `export.check.Export`."""

  def __init__(self, directory: pathlib.Path):
    self._token_ids = plain_tokens.reader(directory)
    self._encode = open_towers(directory)

  def token_ids(
    self, texts: Sequence[str], tower: TowerName
  ) -> Int32[np.ndarray, "n l"]:
    return self._token_ids(texts, tower)

  def embeddings(
    self, texts: Sequence[str], tower: TowerName
  ) -> Float32[np.ndarray, "n D"]:
    ids = self.token_ids(texts, tower)
    # Few shapes: each is compiled.
    padded = np.pad(ids, ((0, 0), (0, -ids.shape[1] % 64)))
    return self._encode(padded, tower)


def open_towers(
  directory: pathlib.Path,
) -> Callable[[np.ndarray, TowerName], np.ndarray]:
  """The towers as a function, in this process.

  Returns:
    Token ids int32 [n, L], 0 is padding, and a tower to float32 [n, D]; n and
    L may be 0.

  Raises:
    ValueError: no export for T5X, or a broken one.
  """
  settings = t5x_gin.read(directory / t5x_gin.MODEL_FILE)
  read = t5x.read_t5x(directory, with_optimizer_state=False)
  model = own_reading.model_of(
    names.flatten(read.params), settings.max_distance, settings.activation_dtype
  )
  encode = jax.jit(
    lambda params, tokens: model.apply(
      {"params": params}, tokens, method="encode_query"
    )
  )

  def embeddings(tokens: np.ndarray, tower: TowerName) -> np.ndarray:
    del tower  # One reads both.
    if not tokens.size:
      width = model.query_encoder.projection_dim
      return np.zeros((len(tokens), width), np.float32)
    with jax.default_device(cpu.device()):
      return np.asarray(encode(read.params, tokens))

  return embeddings
