"""`python -m …` FOLDER: what sentence-transformers makes of texts."""

import importlib
from collections.abc import Sequence

import numpy as np

from gtr_jax.export import answering


def open_folder(directory: str) -> answering.Answers:
  """Opens it as the README says."""
  library = importlib.import_module("sentence_transformers")
  model = library.SentenceTransformer(directory, device="cpu")

  def prompt_name(tower: str) -> str:
    return "query" if tower == "query" else "document"

  def token_ids(texts: Sequence[str], tower: str) -> np.ndarray:
    prompt = model.prompts.get(prompt_name(tower), "")
    features = model.tokenize([prompt + text for text in texts])
    ids, mask = (features[k].numpy() for k in ("input_ids", "attention_mask"))
    return np.where(mask > 0, ids, 0).astype(np.int32)

  def embeddings(texts: Sequence[str], tower: str) -> np.ndarray:
    return model.encode(
      list(texts), prompt_name=prompt_name(tower), convert_to_numpy=True
    )

  return answering.Answers(token_ids, embeddings)


if __name__ == "__main__":
  answering.serve(open_folder)
