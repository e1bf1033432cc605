"""The README of an exported folder: what the Hub shows of a model."""

from gtr_jax.checkpoints import sizes as sizes_lib
from gtr_jax.export import original as original_lib

_CARD = """\
---
library_name: sentence-transformers
pipeline_tag: sentence-similarity
tags:
- sentence-transformers
- feature-extraction
- sentence-similarity
- retrieval
- t5
---

# A text encoder, trained or imported by gtr_jax

T5 {version}, {num_layers} layers, width {embed_dim}: the mean of the tokens,
one matrix without bias, unit length.  {dim} numbers a text; the dot product of
two texts is their cosine.  Step {step:,} of checkpoint `{checkpoint_hash}`.

```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("PATH")
queries = model.encode_query(["how do I parse json"])
passages = model.encode_document(["json: encoder and decoder"])
scores = queries @ passages.T
```

- Texts are read to {length:,} tokens, the last one EOS; what is longer is cut.
- Prompt of a query: {query_prompt!r}; of a passage: {passage_prompt!r}.
  `encode_query` and `encode_document` put them first, `encode` does not.
- A passage with a title is one text: title, space, text.
- Use it in float32 or bfloat16; T5 overflows in float16.
- `parity.json` tells how far it was from the original, and who compared.
"""


def text(original: original_lib.Original, sizes: sizes_lib.Sizes) -> str:
  """The card, Markdown with the Hub's header."""
  return _CARD.format(
    version="1.1" if sizes.gated else "1.0",
    num_layers=sizes.num_layers,
    embed_dim=sizes.embed_dim,
    dim=original.embedding_dim,
    step=original.step,
    checkpoint_hash=original.checkpoint_hash,
    length=original.passage_length,
    query_prompt=original.tokenizer.query_prompt,
    passage_prompt=original.tokenizer.passage_prompt,
  )
