"""Made-up texts for what reads text, as long as the token batches of a size."""

import dataclasses

import numpy as np
import sentencepiece

from benchmarks import training
from gtr_jax.data import vocabulary
from gtr_jax.types import TowerName

_LETTERS = list("abcdefghijklmnopqrstuvwxyz")
# Ids of T5's tokenizers that no SentencePiece model has.
_EXTRA_IDS = 128


def tokenizer(path: str | None = None) -> vocabulary.Tokenizer:
  """Of a SentencePiece model file such as T5's, or of made-up words."""
  if path is not None:
    return vocabulary.load(path)
  rng = np.random.default_rng(0)
  words = ["".join(rng.choice(_LETTERS, 5)) for _ in range(500)]
  sentences = [" ".join(rng.choice(words, 20)) for _ in range(500)]
  return vocabulary.train(sentences, 1_000)


def fitting(size: training.Size, tokens: vocabulary.Tokenizer) -> training.Size:
  """The size, with a token table for all ids of a vocabulary."""
  least = tokens.vocab_size + _EXTRA_IDS
  return dataclasses.replace(size, vocab_size=max(size.vocab_size, least))


def pairs(
  size: training.Size, count: int, tokens: vocabulary.Tokenizer
) -> dict[TowerName, list[str]]:
  """Queries and passages, each as long as that of `training.source`."""
  model = sentencepiece.SentencePieceProcessor(model_proto=tokens.model_bytes)
  pieces = model.id_to_piece(list(range(model.vocab_size())))
  words = np.array(
    [
      piece[1:]
      for piece in pieces
      if piece[0] == "▁" and piece[1:].isascii() and piece[1:].isalpha()
    ]
  )
  batch = training.source(size, count).batch_at(0)
  rng = np.random.default_rng(0)

  def texts(rows: np.ndarray) -> list[str]:
    lengths = np.count_nonzero(rows, axis=-1) - 1  # EOS is one.
    return [" ".join(rng.choice(words, length)) for length in lengths]

  return {
    "query": texts(batch["query_tokens"]),
    "passage": texts(batch["passage_tokens"][:, 0]),
  }
