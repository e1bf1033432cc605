"""How to use a folder of ONNX models; a test runs the code."""

from gtr_jax.export import model_card, onnx_modules, onnx_pooling, towers
from gtr_jax.export import original as original_lib

_HOW_TO = """\
ONNX, opset 17: token ids in, unit vectors out.  It needs `onnxruntime`, texts
also `tokenizers`.  This code runs in the folder.

```python
import json
import numpy as np
import onnxruntime
import tokenizers

towers = json.load(open("towers.json"))

def load(name):
  tower = towers[name]
  tokenizer = tokenizers.Tokenizer.from_file("tokenizer.json")
  tokenizer.enable_truncation(tower["length"])
  tokenizer.enable_padding()
  session = onnxruntime.InferenceSession(tower["model"] + ".onnx")

  def embed(texts):
    rows = tokenizer.encode_batch([tower["prompt"] + text for text in texts])
    ids = np.array([row.ids for row in rows], np.int64)
    mask = np.array([row.attention_mask for row in rows], np.int64)
    inputs = {{"input_ids": ids, "attention_mask": mask}}
    return session.run(["sentence_embedding"], inputs)[0]

  return embed

queries = load("query")(["how do I parse json"])
passages = load("passage")(["json: encoder and decoder"])
scores = queries @ passages.T  # cosines
```

- Inputs: `input_ids` and `attention_mask`, int64 [batch, length], both free.
  Id 0 is padding and never counts, whatever the mask says.
- Output `sentence_embedding`: float32 [batch, {dim}], unit length.
{tokens}{modules}- {models}
- `tokenizer.json` does not cut and adds no prompt; `towers.json` has the length
  and the prompt of queries and of passages.  It gives SentencePiece's ids, but
  where two orders of the same pieces are equally likely, as in `xxx`:
  `tokenizers` adds in float64, SentencePiece in float32, and rounding decides.
  `spiece.model` is SentencePiece's own file.
"""

_TOKENS = """\
- Output `last_hidden_state`: float32 [batch, length, {dim}], the projected
  tokens, for software that takes their mean and scales it to unit length by
  itself; that gives `sentence_embedding`.
"""

_SENTENCE_TRANSFORMERS = """\
- With `optimum-onnx`, `SentenceTransformer(folder, backend="onnx")` reads the
  folder; `encode_query` and `encode_document` put the prompts first.
"""


def usage(original: original_lib.Original) -> model_card.Usage:
  """What the card says of this format."""
  models = dict.fromkeys(t.model for t in towers.of(original).values())
  files = " and ".join(f"`{model}.onnx`" for model in models)
  dim = original.embedding_dim
  has_tokens = onnx_pooling.is_mean(original.model.query_encoder.pooling_fn)
  how_to = _HOW_TO.format(
    dim=dim,
    tokens=_TOKENS.format(dim=dim) if has_tokens else "",
    modules=_SENTENCE_TRANSFORMERS if onnx_modules.fits(original) else "",
    models=(
      f"{files} reads queries and passages."
      if original.is_shared
      else f"The towers are {files}."
    ),
  )
  return model_card.Usage("onnx", how_to, tags=["onnx", "onnxruntime"])
