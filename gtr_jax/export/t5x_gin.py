"""The gin file of a model exported for T5X Retrieval, and how to use both."""

import inspect
import pathlib
import re
from dataclasses import dataclass

from gtr_jax.checkpoints import sizes as sizes_lib
from gtr_jax.export import model_card
from gtr_jax.export import original as original_lib
from gtr_jax.layers import mlp

MODEL_FILE = "model.gin"
# The MLP's activations, and the file of T5 1.0 and of T5 1.1.
_BASE = {
  (mlp.relu,): "de_t5_base.gin",
  (mlp.gelu_gate, mlp.linear_gate): "de_t5_1_1_base.gin",
}
_SETTING = re.compile(r"^\s*(\w+) = '?([\w.]+)'?$", re.MULTILINE)


@dataclass(frozen=True)
class Settings:
  """What a gin file tells that the arrays do not.

  Attributes:
    max_distance: of relative positions.
    activation_dtype: of the encoder.
  """

  max_distance: int
  activation_dtype: str


def model(original: original_lib.Original, sizes: sizes_lib.Sizes) -> str:
  """The text of model.gin: T5X Retrieval's model with these sizes.

  Raises:
    ValueError: activations that neither T5 1.0 nor T5 1.1 has.
  """
  encoder = original.written_model.query_encoder.encoder
  activations = tuple(map(inspect.unwrap, encoder.activations))
  if activations not in _BASE:
    raise ValueError(
      "the MLP's activations are neither T5 1.0's (relu) nor T5 1.1's"
      " (gelu_gate, linear_gate), which is all that T5X Retrieval's gin files"
      " have"
    )
  return f"""\
# The model of checkpoint_{original.step}, made by `gtr export`.
from __gin__ import dynamic_registration

from flaxformer.components import relative_position_biases
import seqio

include 't5x_retrieval/configs/models/{_BASE[activations]}'

NUM_LAYERS = {sizes.num_layers}
NUM_HEADS = {sizes.num_heads}
HEAD_DIM = {sizes.head_dim}
EMBED_DIM = {sizes.embed_dim}
MLP_DIM = {sizes.mlp_dim}
PROJECTION_DIM = {sizes.projection_dim}
NUM_EMBEDDINGS = {sizes.vocab_size}
ACTIVATION_DTYPE = '{original.activation_dtype}'

relative_position_biases.RelativePositionBiases:
  num_buckets = {sizes.num_buckets}
  max_distance = {encoder.relative_attention_max_distance}

# Of this folder; give the whole path.
seqio.SentencePieceVocabulary.sentencepiece_model_file = 'spiece.model'
"""


def read(path: pathlib.Path) -> Settings:
  """What `model` wrote.

  Raises:
    ValueError: no such file, or another one.
  """
  try:
    found = dict(_SETTING.findall(path.read_text(encoding="utf-8")))
    return Settings(int(found["max_distance"]), found["ACTIVATION_DTYPE"])
  except FileNotFoundError:
    raise ValueError(
      f"{path}: no such file: give a folder that gtr export made"
    ) from None
  except (ValueError, KeyError) as error:
    raise ValueError(
      f"{path}: not the model of an export ({error!r}); export again"
    ) from None


def usage(original: original_lib.Original) -> model_card.Usage:
  """What the card says: how T5X Retrieval goes on from here."""
  how_to = _HOW_TO.format(
    step=original.step,
    dtype=original.dtype,
    queries=original.query_length,
    passages=original.passage_length,
  )
  return model_card.Usage("t5x", how_to, tags=["jax", "t5x"])


_HOW_TO = """\
`checkpoint_{step}` is in T5X's own format: a msgpack index, zarr arrays in
{dtype}.  Its legacy and its Orbax checkpointer both restore it.  `model.gin`
has the sizes of the model, on top of T5X Retrieval's file; `spiece.model` is
its vocabulary.  With T5X and T5X Retrieval installed, in the checkout of the
latter, where gin finds its files:

```bash
F=FOLDER  # The whole path of this one.
VOCABULARY=seqio.SentencePieceVocabulary.sentencepiece_model_file
# Go on training: TRAIN_STEPS counts from {step}.
python -m t5x.train --gin_file=$F/model.gin \\
  --gin_file=t5x_retrieval/configs/runs/finetune.gin \\
  --gin.$VOCABULARY="'$F/spiece.model'" \\
  --gin.INITIAL_CHECKPOINT_PATH="'$F/checkpoint_{step}'" \\
  --gin.TASK_FEATURE_LENGTHS="{{'inputs': {queries}, 'targets': {passages}}}" …
# Encode.  Without the last line its file restores in bfloat16.
python -m t5x.infer --gin_file=$F/model.gin \\
  --gin_file=t5x_retrieval/configs/runs/infer.gin \\
  --gin.$VOCABULARY="'$F/spiece.model'" \\
  --gin.CHECKPOINT_PATH="'$F/checkpoint_{step}'" \\
  --gin.utils.RestoreCheckpointConfig.dtype="'{dtype}'" …
```

There is no state of an optimizer in it; it starts anew.  A restore to train
needs what `finetune.gin` has already:

```
utils.RestoreCheckpointConfig:
  assignment_map = ((r'state/param_states.*', None),)
  fallback_to_scratch = True
```

Prompts are no part of T5X's model: a SeqIO task puts them before the texts.
"""
