"""Batches from a token store, one core, beside what a train step consumes."""

import pathlib
import tempfile
from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks import runner, training
from gtr_jax import types
from gtr_jax.data import packed, pipeline, token_store_writer, tokenization

_CHUNK = 1024


def main(arguments: Sequence[str] | None = None) -> None:
  flags = runner.parser(__doc__, "small")
  flags.add_argument("--examples", type=int, default=20_000)
  flags.add_argument("--batch_size", type=int, default=1024)
  flags.add_argument("--batches", type=int, default=8)
  options = flags.parse_args(arguments)
  size = training.SIZES[options.size]
  steps = training.Steps(
    size, next(training.packed_source(size, size.batch_size))
  )
  with tempfile.TemporaryDirectory() as folder:
    store = _store(pathlib.Path(folder), size, options.examples)
    padded = pipeline.PairBatches(store, options.batch_size)
    rows = packed.PackedBatches(pipeline.PairBatches(store, options.batch_size))
    cases = {
      "packed": runner.timed(lambda: _take(rows, options.batches)),
      "padded": runner.timed(lambda: _take(padded, options.batches)),
      "step": runner.timed(steps),
    }
    times = runner.alternate(cases, options.repeats)
  made = 2 * options.batch_size * options.batches  # Queries and passages.
  consumed = 2 * size.batch_size / times["step"].best()
  for name in ("packed", "padded"):
    runner.show_rate(
      f"input pipeline: {name}",
      "texts/s",
      made,
      times[name],
      step_consumes=consumed,
      ratio=made / times[name].best() / consumed,
      size=options.size,
      batch_size=options.batch_size,
    )


def _take(batches: types.Batches, count: int) -> None:
  for _ in range(count):
    next(batches)


def _store(folder: pathlib.Path, size: training.Size, num_examples: int):
  """Synthetic pairs in a store as `gtr train` makes one."""
  return token_store_writer.build(
    folder,
    "f" * 64,
    _chunks(size, num_examples),
    vocab_size=size.vocab_size,
    lengths={"query": size.query_length, "passage": size.passage_length},
  )


def _chunks(
  size: training.Size, num_examples: int
) -> Iterator[tokenization.TokenColumns]:
  source = training.source(size, min(_CHUNK, num_examples))
  for number in range(max(1, num_examples // source.batch_size)):
    batch = source.batch_at(number)
    pairs = zip(batch["query_tokens"], batch["passage_tokens"], strict=True)
    examples = [
      tokenization.TokenExample(
        texts=(_cut(query), _cut(passages[0])),
        num_positives=1,
        ids=(None, None),
      )
      for query, passages in pairs
    ]
    chunk = tokenization.TokenChunk(examples, {"query": 0, "passage": 0})
    yield chunk.columns()


def _cut(tokens: np.ndarray) -> np.ndarray:
  return tokens[: np.count_nonzero(tokens)]


if __name__ == "__main__":
  main()
