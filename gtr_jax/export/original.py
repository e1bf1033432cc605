"""What is exported: a model with its tokenizer, lengths and provenance."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from gtr_jax.export import facts as facts_lib
from gtr_jax.models import dual_encoder, text_encoder
from gtr_jax.types import Params, TowerName

# Parameters and token ids [B, L] to embeddings [B, D].
TowerFunction = Callable[[Params, jax.Array], Any]
TOWERS: tuple[TowerName, TowerName] = ("query", "passage")
Dtype = Literal["float32", "bfloat16"]


class TextTokenizer(Protocol):
  """What an export needs of a tokenizer; `data.vocabulary.Tokenizer` is one."""

  vocab_size: int
  model_bytes: bytes
  query_prompt: str
  passage_prompt: str

  @property
  def eos_id(self) -> int: ...

  def encode(
    self, texts: Sequence[str], length: int, tower: TowerName
  ) -> tuple[list[np.ndarray], int]: ...

  def decode(self, ids: Sequence[int] | np.ndarray) -> str: ...


@dataclass(frozen=True)
class Original:
  """The model that an export must agree with.

  Attributes:
    model: the dual encoder.
    params: its arrays under T5X's names.
    tokenizer: its vocabulary and prompts.
    query_length, passage_length: tokens of a text at most, EOS included.
    checkpoint_hash: names the parameters.
    step: of the checkpoint.
    dtype: of the numbers that are written.  bfloat16 also computes in it;
      float32 leaves the activations as they are in the model.
    facts: what else a model card tells.

  Raises:
    ValueError: a length below 1, another dtype, or a tokenizer of another
      model.
  """

  model: dual_encoder.DualEncoder
  params: Params = field(repr=False)
  tokenizer: TextTokenizer
  query_length: int
  passage_length: int
  checkpoint_hash: str
  step: int
  dtype: Dtype = "float32"
  facts: facts_lib.Facts = facts_lib.Facts()

  def __post_init__(self):
    for name in ("query_length", "passage_length"):
      if getattr(self, name) < 1:
        raise ValueError(
          f"{name} is {getattr(self, name)}: give 1 token or more, EOS is one"
        )
    if self.dtype not in ("float32", "bfloat16"):
      raise ValueError(
        f"dtype is {self.dtype}: T5's activations exceed float16's 65,504 and"
        " turn into infinities; export as bfloat16, which has the range, or as"
        " float32"
      )
    rows = self.model.query_encoder.vocab_size
    if self.tokenizer.vocab_size > rows:
      raise ValueError(
        f"the vocabulary has {self.tokenizer.vocab_size} pieces, the model's"
        f" token table {rows} rows: use the vocabulary of this model"
      )

  @property
  def is_shared(self) -> bool:
    """Whether one tower reads queries and passages."""
    return self.model.passage_encoder is None

  @property
  def embedding_dim(self) -> int:
    return self.model.query_encoder.projection_dim

  @functools.cached_property
  def written_params(self) -> Params:
    """`params` in `dtype`: what a format writes."""
    if self.dtype == "float32":
      return self.params
    return jax.tree.map(
      lambda array: np.asarray(array).astype(jnp.bfloat16), self.params
    )

  @functools.cached_property
  def written_model(self) -> dual_encoder.DualEncoder:
    """`model`, computing in bfloat16 if that is written."""
    if self.dtype == "float32":
      return self.model
    query, passage = self.model.query_encoder, self.model.passage_encoder
    return dual_encoder.DualEncoder(
      _computing_in(self.dtype, query),
      passage and _computing_in(self.dtype, passage),
    )

  @property
  def activation_dtype(self) -> np.dtype:
    """The less precise one of the written towers' activations."""
    model = self.written_model
    towers = (model.query_encoder, model.passage_encoder)
    dtypes = [jnp.dtype(t.encoder.dtype) for t in towers if t is not None]
    return min(dtypes, key=lambda dtype: dtype.itemsize)

  def length(self, tower: TowerName) -> int:
    return self.query_length if tower == "query" else self.passage_length

  def prompt(self, tower: TowerName) -> str:
    tokenizer = self.tokenizer
    return (
      tokenizer.query_prompt if tower == "query" else tokenizer.passage_prompt
    )

  def encoders(self) -> dict[TowerName, TowerFunction]:
    """Each tower as it is written, a function of `written_params`.

    A shared tower is one function under two names.
    """
    return _encoders(self.written_model)

  def own_encoders(self) -> dict[TowerName, TowerFunction]:
    """Each tower as it is in the model, a function of `params`."""
    return _encoders(self.model)


def _computing_in(
  dtype: Dtype, tower: text_encoder.TextEncoder
) -> text_encoder.TextEncoder:
  return tower.clone(encoder=tower.encoder.clone(dtype=dtype))


def _encoders(
  model: dual_encoder.DualEncoder,
) -> dict[TowerName, TowerFunction]:
  def query(params, tokens):
    return model.apply({"params": params}, tokens, method="encode_query")

  def passage(params, tokens):
    return model.apply({"params": params}, tokens, method="encode_passage")

  shared = model.passage_encoder is None
  return {"query": query, "passage": query if shared else passage}
