"""How to use a folder of StableHLO programs; a test runs the code."""

import importlib.metadata
from collections.abc import Sequence

from gtr_jax.export import model_card, towers
from gtr_jax.export import original as original_lib

_LOADER = (
  "{prefix}encode = jax.jit(jax.export.deserialize("
  'open("{model}.stablehlo", "rb").read()).call)\n'
  '{prefix}params = {{k: v for f in glob.glob("{model}*.safetensors") '
  "for k, v in safetensors.flax.load_file(f).items()}}\n"
)

_HOW_TO = """\
StableHLO programs by `jax.export` and their arrays: token ids in, unit vectors
out.  Loading them needs `jax` and `safetensors`, texts also `sentencepiece`;
neither gtr_jax nor Flax.  This code runs in the folder.

```python
import glob, jax.export, safetensors.flax
{loaders}```

{calls}

`tokens` are int32 [b, l], EOS last, then zeros; the vectors are float32
[b, {dim}].  b and l are free, from 1 on, but each new shape compiles for some
seconds: round both up to a few sizes, as here.  The zeros change nothing.

```python
import json
import numpy as np
import sentencepiece

pieces = sentencepiece.SentencePieceProcessor(model_file="spiece.model")
towers = json.load(open("towers.json"))
models = {models}

def token_ids(texts, tower):
  prompt, length = towers[tower]["prompt"], towers[tower]["length"]
  rows = pieces.encode([prompt + text for text in texts])
  rows = [[i for i in row if i > 0][: length - 1] for row in rows]
  sizes = len(rows), max(map(len, rows)) + 1
  ids = np.zeros([1 << (size - 1).bit_length() for size in sizes], np.int32)
  for row, new in zip(ids, rows):
    row[: len(new) + 1] = [*new, pieces.eos_id()]
  return ids

def embed(texts, tower):
  encode, params = models[tower]
  return np.asarray(encode(params, token_ids(texts, tower)))[: len(texts)]

queries = embed(["how do I parse json"], "query")
passages = embed(["json: encoder and decoder"], "passage")
scores = queries @ passages.T  # cosines
```

- The programs run on {platforms}.  `parity.json` is of a CPU: others multiply
  float32 in less (a TPU in bfloat16) unless the program says otherwise, and it
  says so of pooling and projection only.
- The arrays have T5X's names.  Put them where you want them, sharded or not:
  they are an ordinary argument.
- Made with jax {jax}.  JAX promises to call such programs for six months of its
  own releases; after that, export the model again.
"""


def usage(
  original: original_lib.Original, platforms: Sequence[str]
) -> model_card.Usage:
  """What the card says of this format."""
  prefixes = {
    settings.model: "" if original.is_shared else f"{tower}_"
    for tower, settings in towers.of(original).items()
  }
  both = [prefixes[tower.model] for tower in towers.of(original).values()]
  calls = " and ".join(
    f"`{prefix}encode({prefix}params, tokens)`" for prefix in prefixes.values()
  )
  whole = "The model is" if original.is_shared else "The towers are"
  models = ", ".join(
    f'"{tower}": ({prefix}encode, {prefix}params)'
    for tower, prefix in zip(original_lib.TOWERS, both, strict=True)
  )
  how_to = _HOW_TO.format(
    loaders="".join(
      _LOADER.format(prefix=prefix, model=model)
      for model, prefix in prefixes.items()
    ),
    calls=f"{whole} {calls}.",
    models=f"{{{models}}}",
    dim=original.embedding_dim,
    platforms=", ".join(platforms),
    jax=importlib.metadata.version("jax"),
  )
  return model_card.Usage("jax", how_to, tags=["jax", "stablehlo"])
