"""`python -m …` FOLDER: what T5X and T5X Retrieval make of texts."""

import contextlib
import importlib
import pathlib
from collections.abc import Sequence

import jax
import numpy as np

from gtr_jax.export import answering, plain_tokens


def open_folder(directory: str) -> answering.Answers:
  """The model of the folder's gin file, its arrays restored by T5X."""
  folder = pathlib.Path(directory).absolute()
  gin = importlib.import_module("gin")
  (package,) = importlib.import_module("t5x_retrieval").__path__
  with contextlib.chdir(pathlib.Path(package).parent):  # Of the includes.
    gin.parse_config_file(str(folder / "model.gin"))
  model = gin.query_parameter("%ARCHITECTURE").scoped_configurable_fn()
  (checkpoint,) = folder.glob("checkpoint_*")
  checkpoints = importlib.import_module("t5x.checkpoints")
  params = checkpoints.load_t5x_checkpoint(str(checkpoint))["target"]
  encode = jax.jit(
    lambda params, tokens: model.apply(
      {"params": params}, tokens, enable_dropout=False, method=model.encode
    )
  )
  token_ids = plain_tokens.reader(folder)

  def embeddings(texts: Sequence[str], tower: str) -> np.ndarray:
    return np.asarray(encode(params, token_ids(texts, tower)), np.float32)

  return answering.Answers(token_ids, embeddings)


if __name__ == "__main__":
  answering.serve(open_folder)
