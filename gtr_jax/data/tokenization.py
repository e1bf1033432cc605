"""Pairs of texts to examples of token ids with the keys the losses mask by."""

import hashlib
import itertools
import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, Int32

from gtr_jax.data.pair import Pair
from gtr_jax.files import processes
from gtr_jax.types import TokenRows, TowerName

_PAIRS_PER_CHUNK = 1024
# With fewer, other processes would still be starting when the work is done.
_ALONE = 100 * _PAIRS_PER_CHUNK
_CHUNKS_AHEAD = 4  # That a process has to do, so that it never waits.


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

  def columns(self) -> "TokenColumns":
    """The same as flat arrays."""
    texts = [text for example in self.examples for text in example.texts]
    made = [key for example in self.examples for key in keys(example)]
    return TokenColumns(
      tokens=np.concatenate([np.zeros(0, np.int32), *texts]),
      text_sizes=np.array([len(text) for text in texts], np.int64),
      keys=np.array(made, np.int32).reshape(-1, 2),
      num_texts=np.array([len(one.texts) for one in self.examples], np.int64),
      num_positives=np.array(
        [one.num_positives for one in self.examples], np.int64
      ),
      num_cut=self.num_cut,
    )


@dataclass(frozen=True, eq=False)
class TokenColumns:
  """Some examples, their texts end to end, as a store has them.

  Attributes:
    tokens: of all texts.
    text_sizes: tokens of each.
    keys: of each text, as `keys` makes them.
    num_texts, num_positives: of each example.
    num_cut: texts of a tower that were cut.
  """

  tokens: Int32[np.ndarray, "cells"]
  text_sizes: Int[np.ndarray, "texts"]
  keys: Int32[np.ndarray, "texts 2"]
  num_texts: Int[np.ndarray, "e"]
  num_positives: Int[np.ndarray, "e"]
  num_cut: Mapping[TowerName, int]

  def __len__(self) -> int:
    return len(self.num_texts)


def tokenize(
  pairs: Iterable[Pair],
  tokenizer: TokenRows,
  lengths: Mapping[TowerName, int],
  alone: int = _ALONE,
) -> Iterator[TokenColumns]:
  """Token examples of the pairs, in order, a chunk at a time.

  Many pairs are tokenised by as many processes as there are cores.

  Args:
    tokenizer: one that can be sent to another process.
    lengths: most tokens a text of each tower keeps, EOS included.
    alone: pairs, at the beginning, that are not worth a second process.
  """
  chunks = _chunks(iter(pairs))
  for chunk in itertools.islice(chunks, alone // _PAIRS_PER_CHUNK):
    yield _tokenize(chunk, tokenizer, lengths)
  first = next(chunks, None)
  if first is None:
    return
  chunks = itertools.chain([first], chunks)
  num_processes = len(os.sched_getaffinity(0))
  if num_processes == 1:
    for chunk in chunks:
      yield _tokenize(chunk, tokenizer, lengths)
    return
  with processes.executor(
    num_processes, _be_worker, (tokenizer, dict(lengths))
  ) as pool:
    ahead = _CHUNKS_AHEAD * num_processes
    done = deque(pool.submit(_work, one) for one in _take(chunks, ahead))
    try:
      while done:
        columns = done.popleft().result()
        done.extend(pool.submit(_work, one) for one in _take(chunks, 1))
        yield columns
    finally:
      pool.shutdown(cancel_futures=True)


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


def _chunks(pairs: Iterator[Pair]) -> Iterator[list[Pair]]:
  while chunk := list(itertools.islice(pairs, _PAIRS_PER_CHUNK)):
    yield chunk


def _take(chunks: Iterator[list[Pair]], count: int) -> list[list[Pair]]:
  return list(itertools.islice(chunks, count))


def _tokenize(
  chunk: Sequence[Pair],
  tokenizer: TokenRows,
  lengths: Mapping[TowerName, int],
) -> TokenColumns:
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
  num_cut: dict[TowerName, int] = {
    "query": queries_cut,
    "passage": passages_cut,
  }
  return TokenChunk(examples, num_cut).columns()


# What a process that tokenises was started with.
_worker: list[tuple[TokenRows, Mapping[TowerName, int]]] = []


def _be_worker(tokenizer: TokenRows, lengths: Mapping[TowerName, int]) -> None:
  _worker[:] = [(tokenizer, lengths)]


def _work(chunk: list[Pair]) -> TokenColumns:
  return _tokenize(chunk, *_worker[0])


def _hash(content: bytes) -> int:
  """A nonzero int32 that is the same in every run and on every machine."""
  digest = hashlib.blake2b(content, digest_size=4).digest()
  return int.from_bytes(digest, "little", signed=True) or 1


def _ids(pair: Pair) -> list[str | None]:
  positives = pair.positive_ids or [None] * len(pair.positives)
  negatives = pair.negative_ids or [None] * len(pair.negatives)
  return [pair.query_id, *positives, *negatives]
