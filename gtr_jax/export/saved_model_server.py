"""`python -m …` FOLDER: what TensorFlow makes of a SavedModel."""

import importlib
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from gtr_jax.export import answering

# A SavedModel needs none of these; here they cannot be imported.
_ABSENT = ("jax", "jaxlib", "flax", "sentencepiece")


def open_folder(directory: str) -> answering.Answers:
  """Opens it as the README says."""
  tf = importlib.import_module("tensorflow")
  importlib.import_module("tensorflow_text")
  model = tf.saved_model.load(directory)

  def call(name: str, texts: Sequence[str]) -> np.ndarray:
    strings = tf.constant(list(texts), tf.string, shape=[len(texts)])
    return getattr(model, name)(strings).numpy()

  return answering.Answers(
    token_ids=lambda texts, tower: call(f"tokenize_{tower}", texts),
    embeddings=lambda texts, tower: call(f"encode_{tower}", texts),
  )


if __name__ == "__main__":
  absent: dict[str, Any] = dict.fromkeys(_ABSENT)
  sys.modules.update(absent)
  answering.serve(open_folder)
