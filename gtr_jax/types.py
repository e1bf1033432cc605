"""Names shared by every room: array aliases, the shape alphabet, Protocols.

One letter, one meaning, everywhere (docstrings, jaxtyping, einsum):

  B  queries in the global batch      K  passages per query (positive first)
  N  passages in the batch, B * K     P  known positives of a query
  L  tokens in a text                 E  transformer width
  D  embedding width                  H  attention heads
  F  features of one head             M  width of the MLP
  Q  queries searched                 C  passages in the corpus
  R  depth of a ranking
"""

from collections.abc import Mapping
from typing import Any, Literal, Protocol

import jax
import numpy as np

Batch = Mapping[str, jax.Array]
HostBatch = dict[str, np.ndarray]
Metrics = dict[str, jax.Array]
# Pytree of arrays under T5X names: encoder/layers_0/mlp/wi/kernel.
Params = Any
TowerName = Literal["query", "passage"]


class Batches(Protocol):
  """An endless stream of host batches whose place can be saved and restored.

  A batch holds this process's rows, in the global order:

    query_tokens    int32 [b, L]     0 is padding, the last token of a text EOS
    passage_tokens  int32 [b, K, L]  positive first; zeros for no negative
    query_keys      int32 [b, 2]     hash of the id (0: none), hash of the text
    passage_keys    int32 [b, K, 2]  likewise; both 0 for no negative
    positive_keys   int32 [b, P, 2]  all known positives of the query, 0-padded
    example_ids     int32 [b]        which example of the data set a row is

  A packed batch has whole texts end to end instead of the tokens, the rows of
  one device's share behind those of another; likewise for passages:

    query_rows      int32 [r, L]     token ids, 0 where there is no text
    query_segments  int32 [r, L]     1 to S: slot of the text; 0 is no text
    query_texts     int32 [r, S]     number of each slot's text in its share,
                                     passages query by query; -1 is no text

  A text of no tokens, such as no negative, has no slot.
  """

  def __next__(self) -> HostBatch: ...

  def position(self) -> dict[str, Any]:
    """JSON-able; after the last batch that `__next__` returned."""
    ...

  def restore(self, position: Mapping[str, Any]) -> None: ...


class TokenRows(Protocol):
  """What an encoder needs of a tokenizer, such as data.vocabulary.Tokenizer."""

  vocab_size: int

  def encode(
    self, texts: list[str], length: int, tower: TowerName
  ) -> tuple[list[np.ndarray], int]:
    """Token ids a text (at most `length`, EOS last), and how many were cut."""
    ...
