"""What `gtr doctor` looks at, from its flags or a config of `gtr train`."""

import argparse
import dataclasses
import pathlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from gtr_jax.data import (
  examples,
  sources,
  task_names,
  task_texts,
  vocabulary,
)
from gtr_jax.data.pair import EmptyTextError, Pair
from gtr_jax.doctor.finding import BadLines
from gtr_jax.run import gin_config, gin_types, model_directory, training_data
from gtr_jax.types import TowerName

_PLACEHOLDERS = {
  "MODEL_DIR": "'examined'",
  "TRAIN_STEPS": "1_000_000",
}
_EXAMPLES = 10


@dataclass
class Refusals:
  """Bad lines, counted."""

  num_lines: int = 0
  num_empty: int = 0
  examples: list[tuple[str, str]] = field(default_factory=list)

  def add(self, place: str, error: ValueError) -> None:
    self.num_lines += 1
    self.num_empty += isinstance(error, EmptyTextError)
    if len(self.examples) < _EXAMPLES:
      self.examples.append((place, str(error)))


@dataclass(frozen=True)
class Data:
  """The pairs of a task, and how training would read them.

  Attributes:
    source: as the user named it.
    vocabulary: where the tokenizer is from.
    pairs: reads them, counting bad lines.
    pairs_again: reads the same, counting nothing.
  """

  source: str
  lengths: Mapping[TowerName, int]
  batch_size: int
  tokenizer: vocabulary.Tokenizer
  vocabulary: str
  pairs: Callable[[], Iterator[tuple[str, int, Pair]]]
  pairs_again: Callable[[], Iterator[tuple[str, int, Pair]]]
  refusals: Refusals

  def bad_lines(self) -> BadLines:
    refusals = self.refusals
    return BadLines(refusals.num_lines, refusals.num_empty, refusals.examples)


def of(args: argparse.Namespace) -> Data:
  """The data that flags name; what they leave open, a config says.

  Raises:
    ValueError: a mistake in the flags or the config, or no such data.
  """
  config = _config(args)
  source = str(args.data or args.task or config.task)
  if args.data and not task_names.is_text(args.data):
    sources.check_files([pathlib.Path(args.data)])
  refusals = Refusals()
  unsaid = lambda note: None
  first = task_texts.placed_pairs(
    source, args.on_bad_line, unsaid, refusals.add
  )
  again = task_texts.placed_pairs(source, args.on_bad_line, unsaid)
  tokenizer, told = _tokenizer(args, config, again)
  return Data(
    source,
    examples.tower_lengths(config.feature_lengths),
    config.batch_size,
    tokenizer,
    told,
    first.read,
    again.read,
    refusals,
  )


def _config(args: argparse.Namespace) -> training_data.TrainingData:
  """A stage's data with what the flags say instead."""
  if args.gin_file:
    config = _read_config(args)
  else:
    config = training_data.TrainingData(
      "", {"query": 64, "passage": 256}, 2048, 0, 32_128
    )
  lengths = dict(examples.tower_lengths(config.feature_lengths))
  lengths["query"] = args.query_length or lengths["query"]
  lengths["passage"] = args.passage_length or lengths["passage"]
  return dataclasses.replace(
    config,
    feature_lengths=lengths,
    batch_size=args.batch_size or config.batch_size,
    vocab_size=args.vocab_size or config.vocab_size,
    vocabulary=args.vocabulary or config.vocabulary,
  )


def _read_config(args: argparse.Namespace) -> training_data.TrainingData:
  placeholders = dict(_PLACEHOLDERS)
  if args.data or args.task:
    placeholders["MIXTURE_OR_TASK_NAME"] = "'named'"
  gin_config.parse(
    args.gin_file,
    args.gin_bindings,
    args.gin_search_paths.split(","),
    placeholders,
  )
  gin_types.check()
  return gin_config.call(training_data.TrainingData)


def _tokenizer(
  args: argparse.Namespace,
  config: training_data.TrainingData,
  pairs: task_texts.PlacedPairs,
) -> tuple[vocabulary.Tokenizer, str]:
  """The tokenizer, and where it is from."""
  prompts = config.query_prompt, config.passage_prompt
  if config.vocabulary:
    return _load(pathlib.Path(config.vocabulary), *prompts)
  if pairs.tokenizer is not None:
    return pairs.tokenizer, "the task's own"
  texts = (
    text
    for _, _, pair in pairs.read()
    for text in (pair.query, *pair.positives, *pair.negatives)
  )
  trained = vocabulary.train(
    texts,
    config.vocab_size,
    query_prompt=config.query_prompt,
    passage_prompt=config.passage_prompt,
  )
  return trained, "trained on the data"


def _load(
  path: pathlib.Path, query_prompt: str, passage_prompt: str
) -> tuple[vocabulary.Tokenizer, str]:
  """Of a SentencePiece file, a model directory, or its vocabulary folder."""
  if not path.is_dir():
    return vocabulary.load(path, query_prompt, passage_prompt), str(path)
  inside = path / model_directory.VOCABULARY
  own = vocabulary.load_directory(inside if inside.is_dir() else path)
  return vocabulary.Tokenizer(
    own.model_bytes,
    query_prompt or own.query_prompt,
    passage_prompt or own.passage_prompt,
  ), str(path)
