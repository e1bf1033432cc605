"""JSONL of pairs to a token store, and batches of a mixture out of stores.

Texts as long as MS MARCO's.  `--vocabulary` takes a SentencePiece model file
such as T5's; without one a small one is trained on made-up words.
"""

import argparse
import functools
import json
import pathlib
import shutil
import tempfile
from collections.abc import Sequence

from benchmarks import runner, texts, training
from gtr_jax.data import (
  mixture,
  packed,
  pipeline,
  sources,
  token_store,
  token_store_writer,
  tokenization,
  vocabulary,
)
from gtr_jax.types import TowerName

_TASKS = 5
_NEVER = 2**62


def main(arguments: Sequence[str] | None = None) -> None:
  flags = runner.parser(__doc__, "small")
  flags.add_argument("--vocabulary", metavar="FILE")
  flags.add_argument("--pairs", type=int, default=300_000)
  flags.add_argument("--batch_size", type=int, default=2048)
  flags.add_argument("--batches", type=int, default=8)
  options = flags.parse_args(arguments)
  size = training.SIZES[options.size]
  tokens = texts.tokenizer(options.vocabulary)
  num_mixed = max(options.pairs // 10, options.batch_size)
  with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    files = [
      _write(folder / f"{task}.jsonl", size, tokens, count, task)
      for task, count in enumerate([options.pairs, *[num_mixed] * (_TASKS - 1)])
    ]
    work = _Work(folder, size, tokens)
    cases = {
      "all cores": runner.timed(lambda: work.store(files[:1], alone=0)),
      "one process": runner.timed(lambda: work.store(files[:1], alone=_NEVER)),
    }
    times = runner.alternate(cases, options.repeats)
    for case, of_case in times.items():
      runner.show_rate(
        f"JSONL to token store: {case}", "pairs/s", options.pairs, of_case
      )
    stores = [work.store([file], _NEVER) for file in files]
    _show_batches(stores, options)


def _show_batches(
  stores: list[token_store.TokenStore], options: argparse.Namespace
) -> None:
  parts = [
    mixture.Part(str(number), store, 1 + number)
    for number, store in enumerate(stores)
  ]
  mixed = mixture.Mixture(parts)
  streams = {
    "five tasks": pipeline.PairBatches(mixed, options.batch_size),
    "one store": pipeline.PairBatches(stores[0], options.batch_size),
  }
  cases = {
    name: runner.timed(
      functools.partial(_take, packed.PackedBatches(stream), options.batches)
    )
    for name, stream in streams.items()
  }
  times = runner.alternate(cases, options.repeats)
  for name, of_case in times.items():
    runner.show_rate(
      f"packed batches: {name}",
      "pairs/s",
      options.batch_size * options.batches,
      of_case,
      batch_size=options.batch_size,
    )


class _Work:
  """Builds stores, each anew."""

  def __init__(
    self,
    folder: pathlib.Path,
    size: training.Size,
    tokens: vocabulary.Tokenizer,
  ):
    self._folder, self._tokens = folder, tokens
    self._lengths: dict[TowerName, int] = {
      "query": size.query_length,
      "passage": size.passage_length,
    }

  def store(
    self, files: Sequence[pathlib.Path], alone: int
  ) -> token_store.TokenStore:
    name = files[0].stem
    shutil.rmtree(self._folder / name, ignore_errors=True)
    chunks = tokenization.tokenize(
      sources.read_pairs(files), self._tokens, self._lengths, alone
    )
    return token_store_writer.build(
      self._folder,
      name,
      chunks,
      vocab_size=self._tokens.vocab_size,
      lengths=self._lengths,
    )


def _write(
  path: pathlib.Path,
  size: training.Size,
  tokens: vocabulary.Tokenizer,
  count: int,
  task: int,
) -> pathlib.Path:
  distinct = texts.pairs(size, min(count, 10_000), tokens)
  num_distinct = len(distinct["query"])
  with path.open("w") as file:
    for number in range(count):
      which = (number + task) % num_distinct
      record = {
        "query": f"{distinct['query'][which]} {number}",
        "positive": distinct["passage"][which],
        "query_id": f"{task}-{number}",
        "positive_id": f"p{number}",
      }
      file.write(json.dumps(record) + "\n")
  return path


def _take(batches: packed.PackedBatches, count: int) -> None:
  for _ in range(count):
    next(batches)


if __name__ == "__main__":
  main()
