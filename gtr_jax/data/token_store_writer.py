"""Builds token stores: streaming, whole or not at all, at most once.

Stores lie side by side in a folder, each under the fingerprint of all it was
made from, so that a changed file, vocabulary or length makes another store and
an unchanged one is found again.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

import numpy as np

from gtr_jax.data import token_store, tokenization
from gtr_jax.files import folders, whole
from gtr_jax.types import TowerName

_MAX_EXAMPLES = 2**31 - 1  # An example's id is an int32.


def build(
  directory: pathlib.Path,
  fingerprint: str,
  chunks: Iterable[tokenization.TokenColumns],
  *,
  vocab_size: int,
  lengths: Mapping[TowerName, int],
  notes: Sequence[str] = (),
) -> token_store.TokenStore:
  """Opens the store of this fingerprint, which is built if it is not there.

  Several processes may ask for the same store at once: on one machine one of
  them builds it; across machines that share the folder the first one counts.

  Args:
    directory: holds any number of stores.
    fingerprint: hexadecimal; of everything that decides what is in the store.
    chunks: the examples; touched only if the store is to be built.
    notes: read after the last chunk, so the source may still add to them.

  Raises:
    ValueError: there is no example, or its token ids do not fit.
  """
  final = directory / fingerprint[:24]
  folders.make_once(
    final,
    token_store.MANIFEST_FILE,
    lambda temporary: _write(temporary, chunks, vocab_size, lengths, notes),
  )
  return token_store.load(final)


def fingerprint_of(facts: Mapping[str, Any]) -> str:
  """A hexadecimal hash of JSON-able facts and of the stores' format."""
  facts = {"format": token_store.FORMAT, **facts}
  return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _write(
  directory: pathlib.Path,
  chunks: Iterable[tokenization.TokenColumns],
  vocab_size: int,
  lengths: Mapping[TowerName, int],
  notes: Sequence[str],
) -> None:
  content, statistics = _write_arrays(directory, chunks, vocab_size)
  manifest = {
    "format": token_store.FORMAT,
    "content": content,
    "vocab_size": vocab_size,
    "lengths": dict(lengths),
    "statistics": dataclasses.asdict(statistics),
    "notes": list(notes),
  }
  whole.write(
    directory / token_store.MANIFEST_FILE,
    (json.dumps(manifest, indent=2) + "\n").encode(),
  )


@dataclass
class _Column:
  """An array that grows at its end in a file, and its hash."""

  stream: IO[bytes]
  dtype: np.dtype
  digest: Any = field(default_factory=hashlib.sha256)

  def append(self, values: Any) -> None:
    content = np.ascontiguousarray(values, self.dtype).tobytes()
    self.stream.write(content)
    self.digest.update(content)

  def finish(self) -> str:
    self.stream.flush()
    os.fsync(self.stream.fileno())
    return self.digest.hexdigest()


def _write_arrays(
  directory: pathlib.Path,
  chunks: Iterable[tokenization.TokenColumns],
  vocab_size: int,
) -> tuple[str, token_store.Statistics]:
  """Writes all arrays; their common hash and what they hold."""
  dtypes = token_store.dtypes(vocab_size)
  totals = _Totals()
  with contextlib.ExitStack() as stack:
    columns = {
      name: _Column(
        stack.enter_context(token_store.array_file(directory, name).open("wb")),
        dtype,
      )
      for name, dtype in dtypes.items()
    }
    columns["text_offsets"].append([0])
    columns["example_offsets"].append([0])
    for chunk in chunks:
      if len(chunk):
        _append(columns, totals, chunk, vocab_size)
    digests = [column.finish() for column in columns.values()]
  statistics = totals.statistics()
  content = hashlib.sha256(" ".join(digests).encode()).hexdigest()
  return content, statistics


def _append(
  columns: Mapping[str, _Column],
  totals: "_Totals",
  chunk: tokenization.TokenColumns,
  vocab_size: int,
) -> None:
  _check(chunk, vocab_size)
  columns["tokens"].append(chunk.tokens)
  columns["text_offsets"].append(
    totals.all_tokens + np.cumsum(chunk.text_sizes)
  )
  columns["keys"].append(chunk.keys)
  columns["example_offsets"].append(
    totals.all_texts + np.cumsum(chunk.num_texts)
  )
  columns["num_positives"].append(chunk.num_positives)
  totals.add(chunk)


def _check(chunk: tokenization.TokenColumns, vocab_size: int) -> None:
  if chunk.text_sizes.min() == 0:
    raise ValueError("a text has no token: end every text with EOS")
  tokens, num_positives = chunk.tokens, chunk.num_positives
  if tokens.min() < 1 or tokens.max() >= vocab_size:
    raise ValueError(
      f"token ids go from {tokens.min()} to {tokens.max()}, due were 1 to"
      f" {vocab_size - 1} (0 is padding): use the vocabulary of the data"
    )
  if np.any(num_positives < 1) or np.any(num_positives >= chunk.num_texts):
    raise ValueError("an example has no positive: give each query one or more")


@dataclass
class _Totals:
  """Running counts of what was written."""

  num_examples: int = 0
  all_texts: int = 0
  all_tokens: int = 0
  query_tokens: int = 0
  queries_cut: int = 0
  passages_cut: int = 0
  max_positives: int = 0
  max_negatives: int = 0

  def add(self, chunk: tokenization.TokenColumns) -> None:
    queries = np.cumsum(chunk.num_texts) - chunk.num_texts
    self.num_examples += len(chunk)
    self.all_texts += len(chunk.text_sizes)
    self.all_tokens += len(chunk.tokens)
    self.query_tokens += int(chunk.text_sizes[queries].sum())
    self.queries_cut += chunk.num_cut["query"]
    self.passages_cut += chunk.num_cut["passage"]
    num_negatives = chunk.num_texts - 1 - chunk.num_positives
    self.max_positives = max(self.max_positives, int(chunk.num_positives.max()))
    self.max_negatives = max(self.max_negatives, int(num_negatives.max()))
    if self.num_examples > _MAX_EXAMPLES:
      raise ValueError(
        f"more than {_MAX_EXAMPLES} examples: split the data into several tasks"
      )

  def statistics(self) -> token_store.Statistics:
    if not self.num_examples:
      raise ValueError("the data holds no example: give at least one pair")
    return token_store.Statistics(
      num_examples=self.num_examples,
      num_passages=self.all_texts - self.num_examples,
      num_tokens={
        "query": self.query_tokens,
        "passage": self.all_tokens - self.query_tokens,
      },
      num_cut={"query": self.queries_cut, "passage": self.passages_cut},
      max_positives=self.max_positives,
      max_negatives=self.max_negatives,
    )
