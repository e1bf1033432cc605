"""What is exported: a model with its tokenizer, lengths and provenance."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import jax
import numpy as np

from gtr_jax.models import dual_encoder
from gtr_jax.types import Params, TowerName

# Parameters and token ids [B, L] to embeddings [B, D].
TowerFunction = Callable[[Params, jax.Array], Any]
TOWERS: tuple[TowerName, TowerName] = ("query", "passage")


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

  Raises:
    ValueError: a length below 1, or a tokenizer of another model.
  """

  model: dual_encoder.DualEncoder
  params: Params = field(repr=False)
  tokenizer: TextTokenizer
  query_length: int
  passage_length: int
  checkpoint_hash: str
  step: int

  def __post_init__(self):
    for name in ("query_length", "passage_length"):
      if getattr(self, name) < 1:
        raise ValueError(
          f"{name} is {getattr(self, name)}: give 1 token or more, EOS is one"
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

  @property
  def activation_dtype(self) -> np.dtype:
    """The less precise one of the towers' activations."""
    towers = (self.model.query_encoder, self.model.passage_encoder)
    dtypes = [jax.numpy.dtype(t.encoder.dtype) for t in towers if t is not None]
    return min(dtypes, key=lambda dtype: dtype.itemsize)

  def length(self, tower: TowerName) -> int:
    return self.query_length if tower == "query" else self.passage_length

  def prompt(self, tower: TowerName) -> str:
    tokenizer = self.tokenizer
    return (
      tokenizer.query_prompt if tower == "query" else tokenizer.passage_prompt
    )

  def encoders(
    self,
  ) -> dict[TowerName, TowerFunction]:
    """Each tower's function; a shared tower is one function under two names."""

    def query(params, tokens):
      return self.model.apply({"params": params}, tokens, method="encode_query")

    def passage(params, tokens):
      return self.model.apply(
        {"params": params}, tokens, method="encode_passage"
      )

    return {"query": query, "passage": query if self.is_shared else passage}
