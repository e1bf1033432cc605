"""Pairs of texts to examples of token ids with the keys the losses mask by."""

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gtr_jax.data.pair import Pair
from gtr_jax.types import TokenRows, TowerName

_PAIRS_PER_CHUNK = 1024


@dataclass(frozen=True)
class TokenExample:
  """One pair in token ids.

  Attributes:
    texts: int32 rows: the query, its positives, its negatives.  EOS last.
    num_positives: at least one.
    ids: of each text, or None.
  """

  texts: Sequence[np.ndarray]
  num_positives: int
  ids: Sequence[str | None]


@dataclass(frozen=True)
class TokenChunk:
  """Some examples, and how many of a tower's texts were cut in them."""

  examples: Sequence[TokenExample]
  num_cut: Mapping[TowerName, int]


def tokenize(
  pairs: Iterable[Pair],
  tokenizer: TokenRows,
  lengths: Mapping[TowerName, int],
) -> Iterator[TokenChunk]:
  """Token examples of the pairs, in order, a chunk at a time.

  Args:
    lengths: most tokens a text of each tower keeps, EOS included.
  """
  pairs = iter(pairs)
  while chunk := list(itertools.islice(pairs, _PAIRS_PER_CHUNK)):
    queries, queries_cut = tokenizer.encode(
      [pair.query for pair in chunk], lengths["query"], "query"
    )
    passages, passages_cut = tokenizer.encode(
      [text for pair in chunk for text in (*pair.positives, *pair.negatives)],
      lengths["passage"],
      "passage",
    )
    passage = iter(passages)
    examples = [
      TokenExample(
        texts=[
          query,
          *itertools.islice(passage, len(pair.positives) + len(pair.negatives)),
        ],
        num_positives=len(pair.positives),
        ids=_ids(pair),
      )
      for pair, query in zip(chunk, queries, strict=True)
    ]
    yield TokenChunk(examples, {"query": queries_cut, "passage": passages_cut})


def keys(example: TokenExample) -> list[tuple[int, int]]:
  """For each text: a hash of its id (0: none) and one of its tokens.

  Texts that become the same tokens have the same key, and so do ids that are
  the same string; neither is ever 0 by chance.
  """
  return [
    (
      _hash(identifier.encode()) if identifier is not None else 0,
      _hash(row.astype("<i4").tobytes()),
    )  # fmt: skip
    for row, identifier in zip(example.texts, example.ids, strict=True)
  ]


def _hash(content: bytes) -> int:
  """A nonzero int32 that is the same in every run and on every machine."""
  digest = hashlib.blake2b(content, digest_size=4).digest()
  return int.from_bytes(digest, "little", signed=True) or 1


def _ids(pair: Pair) -> list[str | None]:
  positives = pair.positive_ids or [None] * len(pair.positives)
  negatives = pair.negative_ids or [None] * len(pair.negatives)
  return [pair.query_id, *positives, *negatives]
