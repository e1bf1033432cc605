"""`python -m …` FOLDER: what transformers makes of a T5 encoder.

Its vectors are means of the encoder's, of unit length; transformers knows no
projection.
"""

import functools
import importlib
from collections.abc import Sequence

import numpy as np

from gtr_jax.export import answering

_MAX_LENGTH = 512


def open_folder(directory: str) -> answering.Answers:
  """Opens it in float32, whatever is stored."""
  torch = importlib.import_module("torch")
  transformers = importlib.import_module("transformers")
  model = transformers.AutoModelForTextEncoding.from_pretrained(directory)
  model = model.float().eval()

  @functools.cache
  def tokenizer():
    return transformers.AutoTokenizer.from_pretrained(directory)

  def token_ids(texts: Sequence[str], tower: str) -> np.ndarray:
    read = tokenizer()(
      list(texts), padding=True, truncation=True, max_length=_MAX_LENGTH
    )
    ids, mask = (np.array(read[k]) for k in ("input_ids", "attention_mask"))
    return np.where(mask > 0, ids, 0).astype(np.int32)

  def of_ids(rows: Sequence[Sequence[int]], tower: str) -> np.ndarray:
    longest = max(map(len, rows))
    ids = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows])
    mask = (ids > 0).float()
    with torch.no_grad():
      hidden = model(input_ids=ids, attention_mask=mask).last_hidden_state
    mean = (hidden * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
    return torch.nn.functional.normalize(mean).numpy()

  def embeddings(texts: Sequence[str], tower: str) -> np.ndarray:
    rows = token_ids(texts, tower).tolist()
    return of_ids([[token for token in row if token] for row in rows], tower)

  return answering.Answers(token_ids, embeddings, of_ids)


if __name__ == "__main__":
  answering.serve(open_folder)
