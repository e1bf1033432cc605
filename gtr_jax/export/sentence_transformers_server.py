"""`python -m …` FOLDER: what sentence-transformers makes of texts.

A JSON line in, a JSON line out; nothing of JAX is in this process.
"""

import base64
import importlib
import io
import json
import os
import sys

import numpy as np


def serve(directory: str) -> None:
  """Answers questions about the model in `directory` until there are none."""
  # What libraries print shall not come between the answers.
  answers = os.fdopen(os.dup(1), "w")
  os.dup2(2, 1)
  library = importlib.import_module("sentence_transformers")
  model = library.SentenceTransformer(directory, device="cpu")
  probe = model.encode(["one"], convert_to_numpy=True)
  print(json.dumps({"dim": probe.shape[1]}), file=answers, flush=True)
  for line in sys.stdin:
    question = json.loads(line)
    name = "query" if question["tower"] == "query" else "document"
    texts, prompt = question["texts"], model.prompts.get(name, "")
    if question["call"] == "token_ids":
      features = model.tokenize([prompt + text for text in texts])
      ids, mask = (features[k].numpy() for k in ("input_ids", "attention_mask"))
      array = np.where(mask > 0, ids, 0).astype(np.int32)
    else:
      array = model.encode(texts, prompt_name=name, convert_to_numpy=True)
    content = io.BytesIO()
    np.save(content, array)
    encoded = base64.b64encode(content.getvalue()).decode()
    print(json.dumps({"array": encoded}), file=answers, flush=True)


if __name__ == "__main__":
  serve(sys.argv[1])
