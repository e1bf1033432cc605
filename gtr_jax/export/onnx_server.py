"""`python -m …` FOLDER: what onnxruntime and tokenizers make of texts."""

import importlib
import json
import pathlib
from collections.abc import Sequence

import numpy as np

from gtr_jax.export import answering


def open_folder(directory: str) -> answering.Answers:
  """Opens it as the README says."""
  onnxruntime = importlib.import_module("onnxruntime")
  tokenizers = importlib.import_module("tokenizers")
  folder = pathlib.Path(directory)
  towers = json.loads((folder / "towers.json").read_text(encoding="utf-8"))
  readers, models = {}, {}
  for name, tower in towers.items():
    reader = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    reader.enable_truncation(tower["length"])
    reader.enable_padding()
    readers[name] = reader
    path, choice = folder / f"{tower['model']}.onnx", ["CPUExecutionProvider"]
    if path not in models:
      models[path] = onnxruntime.InferenceSession(path, providers=choice)
    models[name] = models[path]

  def inputs(texts: Sequence[str], tower: str) -> dict[str, np.ndarray]:
    prompt = towers[tower]["prompt"]
    rows = readers[tower].encode_batch([prompt + text for text in texts])
    return {
      "input_ids": np.array([row.ids for row in rows], np.int64),
      "attention_mask": np.array(
        [row.attention_mask for row in rows], np.int64
      ),
    }

  def token_ids(texts: Sequence[str], tower: str) -> np.ndarray:
    found = inputs(texts, tower)
    return (found["input_ids"] * found["attention_mask"]).astype(np.int32)

  def embeddings(texts: Sequence[str], tower: str) -> np.ndarray:
    found = inputs(texts, tower)
    return models[tower].run(["sentence_embedding"], found)[0]

  return answering.Answers(token_ids, embeddings)


if __name__ == "__main__":
  answering.serve(open_folder)
