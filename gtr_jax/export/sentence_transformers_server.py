"""`python -m …` FOLDER: what sentence-transformers makes of texts."""

import importlib
from collections.abc import Sequence

import numpy as np

from gtr_jax.export import answering


def open_folder(directory: str) -> answering.Answers:
  """Opens it as the README says."""
  torch = importlib.import_module("torch")
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

  def of_ids(rows: Sequence[Sequence[int]], tower: str) -> np.ndarray:
    longest = max(map(len, rows))
    ids = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows])
    features = {"input_ids": ids, "attention_mask": (ids > 0).long()}
    # As an imported model is float32, whatever was stored.
    with torch.no_grad():
      vectors = model.float()(features)["sentence_embedding"]
    return torch.nn.functional.normalize(vectors).numpy()

  return answering.Answers(token_ids, embeddings, of_ids)


if __name__ == "__main__":
  answering.serve(open_folder)
