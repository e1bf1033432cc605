"""`python -m …` FOLDER: what JAX makes of a folder of StableHLO programs."""

import json
import pathlib
from collections.abc import Sequence

import jax
import jax.export
import numpy as np
import sentencepiece
from safetensors import flax as safetensors

from gtr_jax.export import answering


def open_folder(directory: str) -> answering.Answers:
  """Opens it as the README says."""
  folder = pathlib.Path(directory)
  pieces = sentencepiece.SentencePieceProcessor(
    model_file=str(folder / "spiece.model")
  )
  towers = json.loads((folder / "towers.json").read_text(encoding="utf-8"))
  models = {}
  for name in {tower["model"] for tower in towers.values()}:
    program = bytearray((folder / f"{name}.stablehlo").read_bytes())
    params = {}
    for file in folder.glob(f"{name}*.safetensors"):
      params.update(safetensors.load_file(file))
    models[name] = jax.jit(jax.export.deserialize(program).call), params

  def token_ids(texts: Sequence[str], tower: str) -> np.ndarray:
    prompt, length = towers[tower]["prompt"], towers[tower]["length"]
    rows = pieces.encode([prompt + text for text in texts])
    rows = [[i for i in row if i > 0][: length - 1] for row in rows]
    longest = max(map(len, rows), default=-1) + 1
    ids = np.zeros((len(rows), longest), np.int32)
    for row, new in zip(ids, rows, strict=True):
      row[: len(new) + 1] = [*new, pieces.eos_id()]
    return ids

  def embeddings(texts: Sequence[str], tower: str) -> np.ndarray:
    encode, params = models[towers[tower]["model"]]
    return np.asarray(encode(params, token_ids(texts, tower)))

  return answering.Answers(token_ids, embeddings)


if __name__ == "__main__":
  answering.serve(open_folder)
