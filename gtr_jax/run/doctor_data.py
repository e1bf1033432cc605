"""What `gtr doctor` looks at, from its flags or a config of `gtr train`."""

import argparse
import dataclasses
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from gtr_jax.data import (
  examples,
  mixing_rates,
  sources,
  task_names,
  task_texts,
  vocabulary,
)
from gtr_jax.data.pair import EmptyTextError, Pair
from gtr_jax.doctor import shares
from gtr_jax.doctor.finding import BadLines
from gtr_jax.files import lines
from gtr_jax.run import gin_config, gin_types, model_directory, training_data
from gtr_jax.types import TowerName

_PLACEHOLDERS = {
  "MODEL_DIR": "'examined'",
  "TRAIN_STEPS": "0",  # Not known.
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
    config: of a stage; flags have their say in it.
    rates: tasks, each with its rate; None is by size.
    vocabulary: where the tokenizer is from.
    num_steps: of the training; None if nobody said.
    sizes: pairs of each task, as far as they were read.
  """

  source: str
  config: training_data.TrainingData
  on_bad_line: lines.OnBadLine
  rates: Mapping[str, float | None]
  tokenizer: vocabulary.Tokenizer
  vocabulary: str
  num_steps: int | None
  refusals: Refusals = field(default_factory=Refusals)
  sizes: dict[str, int] = field(default_factory=dict)

  @property
  def lengths(self) -> Mapping[TowerName, int]:
    return examples.tower_lengths(self.config.feature_lengths)

  def pairs(self) -> Iterator[sources.Placed]:
    """Reads them, counting pairs and bad lines."""
    for task in self.rates:
      self.sizes[task] = 0
      for placed in self._of_task(task, self.refusals.add):
        self.sizes[task] += 1
        yield placed

  def pairs_again(self) -> Iterator[sources.Placed]:
    """Reads the same, counting nothing."""
    for task in self.rates:
      yield from self._of_task(task, sources.unheard)

  def bad_lines(self) -> BadLines:
    refusals = self.refusals
    return BadLines(refusals.num_lines, refusals.num_empty, refusals.examples)

  def shares(self) -> list[shares.Share]:
    """Of the tasks of a mixture; none of a task alone."""
    if len(self.rates) < 2:
      return []
    steps = self.num_steps
    mixing = self.config.mixing()
    return shares.of(
      self.sizes,
      {
        task: mixing_rates.rate_of(rate, self.sizes[task], mixing)
        for task, rate in self.rates.items()
      },
      steps and steps * self.config.batch_size,
    )

  def _of_task(
    self, task: str, refused: sources.Refused
  ) -> Iterator[sources.Placed]:
    opened = _open(task, self.config, self.on_bad_line, refused)
    if len(self.rates) == 1:
      return opened.read()
    return (
      (source, number, _with_own_ids(pair, task))
      for source, number, pair in opened.read()
    )


def of(args: argparse.Namespace) -> Data:
  """The data that flags name; what they leave open, a config says.

  Raises:
    ValueError: a mistake in the flags or the config, or no such data.
  """
  config, num_steps = _config(args)
  if args.data and not task_names.is_text(args.data):
    sources.check_files([pathlib.Path(args.data)])
  rates = mixing_rates.tasks_with_rates(config.task, config.names())
  tokenizer, told = _tokenizer(config, list(rates), args.on_bad_line)
  return Data(
    ", ".join(rates) if args.gin_file else args.data or args.task,
    config,
    args.on_bad_line,
    rates,
    tokenizer,
    told,
    args.train_steps or num_steps,
  )


def _open(
  task: str,
  config: training_data.TrainingData,
  on_bad_line: lines.OnBadLine,
  refused: sources.Refused = sources.unheard,
) -> task_texts.PlacedPairs:
  unsaid = lambda note: None
  return task_texts.placed_pairs(
    task, on_bad_line, unsaid, refused, config.names()
  )


def _with_own_ids(pair: Pair, task: str) -> Pair:
  """Ids mean something only within a task of a mixture."""
  own = lambda ids: ids and tuple(f"{task}/{one}" for one in ids)
  return dataclasses.replace(
    pair,
    query_id=pair.query_id and f"{task}/{pair.query_id}",
    positive_ids=own(pair.positive_ids),
    negative_ids=own(pair.negative_ids),
  )


def _config(
  args: argparse.Namespace,
) -> tuple[training_data.TrainingData, int | None]:
  """A stage's data with what the flags say instead, and its steps."""
  num_steps = None
  if args.gin_file:
    config, num_steps = _read_config(args)
  else:
    config = training_data.TrainingData(
      "", {"query": 64, "passage": 256}, 2048, 0, 32_128
    )
  lengths = dict(examples.tower_lengths(config.feature_lengths))
  lengths["query"] = args.query_length or lengths["query"]
  lengths["passage"] = args.passage_length or lengths["passage"]
  config = dataclasses.replace(
    config,
    task=args.data or args.task or config.task,
    feature_lengths=lengths,
    batch_size=args.batch_size or config.batch_size,
    vocab_size=args.vocab_size or config.vocab_size,
    vocabulary=args.vocabulary or config.vocabulary,
  )
  return config, num_steps


def _read_config(
  args: argparse.Namespace,
) -> tuple[training_data.TrainingData, int | None]:
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
  config = gin_config.call(training_data.TrainingData)
  steps = gin_config.macro_value("TRAIN_STEPS")
  return config, steps if isinstance(steps, int) and steps > 0 else None


def _tokenizer(
  config: training_data.TrainingData,
  tasks: Sequence[str],
  on_bad_line: lines.OnBadLine,
) -> tuple[vocabulary.Tokenizer, str]:
  """The tokenizer, and where it is from."""
  prompts = config.query_prompt, config.passage_prompt
  if config.vocabulary:
    return _load(pathlib.Path(config.vocabulary), *prompts)
  opened = [_open(task, config, on_bad_line) for task in tasks]
  for pairs in opened:
    if pairs.tokenizer is not None:
      return pairs.tokenizer, "the task's own"
  texts = (
    text
    for pairs in opened
    for _, _, pair in pairs.read()
    for text in (pair.query, *pair.positives, *pair.negatives)
  )
  trained = vocabulary.train(texts, config.vocab_size)
  own = vocabulary.Tokenizer(trained.model_bytes, *prompts)
  return own, "trained on the data"


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
