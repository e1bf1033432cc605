"""`python -m …` FOLDER: what JAX makes of a folder of StableHLO programs."""

import json
import pathlib
from collections.abc import Sequence

import jax
import jax.export
import numpy as np
from safetensors import flax as safetensors

from gtr_jax.export import answering, plain_tokens


def open_folder(directory: str) -> answering.Answers:
  """Opens it as the README says."""
  folder = pathlib.Path(directory)
  token_ids = plain_tokens.reader(folder)
  towers = json.loads((folder / "towers.json").read_text(encoding="utf-8"))
  models = {}
  for name in {tower["model"] for tower in towers.values()}:
    program = bytearray((folder / f"{name}.stablehlo").read_bytes())
    params = {}
    for file in folder.glob(f"{name}*.safetensors"):
      params.update(safetensors.load_file(file))
    models[name] = jax.jit(jax.export.deserialize(program).call), params

  def embeddings(texts: Sequence[str], tower: str) -> np.ndarray:
    encode, params = models[towers[tower]["model"]]
    return np.asarray(encode(params, token_ids(texts, tower)))

  return answering.Answers(token_ids, embeddings)


if __name__ == "__main__":
  answering.serve(open_folder)
