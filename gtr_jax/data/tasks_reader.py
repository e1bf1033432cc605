"""Examples of SeqIO tasks and mixtures, for a token store.

Any task will do whose features are those that `preprocessors.py` lists, its
own or T5X Retrieval's: `inputs` and `targets`, already token ids.
"""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any, cast

import numpy as np
import seqio
import tensorflow as tf

from gtr_jax.data import vocabulary
from gtr_jax.data.tokenization import TokenChunk, TokenExample
from gtr_jax.files import lines
from gtr_jax.types import TowerName

_EXAMPLES_PER_CHUNK = 1024
_TOWERS: dict[str, TowerName] = {
  "inputs": "query",
  "targets": "passage",
  "other_targets": "passage",
  "negative_targets": "passage",
}
_Features = Mapping[str, Any]


def names() -> list[str]:
  """All registered tasks and mixtures."""
  return sorted({*seqio.TaskRegistry.names(), *seqio.MixtureRegistry.names()})


def tokenizer_of(name: str) -> vocabulary.Tokenizer:
  """The tokenizer of a task's vocabulary, `extra_ids` included.

  Prompts are the task's own business, so the tokenizer has none.

  Raises:
    ValueError: inputs and targets have different vocabularies, which one
      shared encoder cannot read, or one that is no SentencePiece model.
  """
  features = seqio.get_mixture_or_task(name).output_features
  for due in ("inputs", "targets"):
    if due not in features:
      raise ValueError(
        f"task {name!r} has no feature {due!r} among {sorted(features)}: name"
        " the query 'inputs' and the passage 'targets'"
      )
  shared = features["inputs"].vocabulary
  if shared != features["targets"].vocabulary:
    raise ValueError(
      f"task {name!r} has different vocabularies for inputs and targets: give"
      " it one"
    )
  if not isinstance(shared, seqio.SentencePieceVocabulary):
    raise ValueError(
      f"task {name!r} has a {type(shared).__name__} where a"
      " SentencePieceVocabulary was due: use one"
    )
  return vocabulary.Tokenizer(shared.sp_model or b"")


def rates(mixture: str, split: str = "train") -> dict[str, float]:
  """The tasks of a mixture that have the split, each with its rate.

  A rate may be a function of the task, as SeqIO has it: of its number of
  examples, which SeqIO knows of tasks that are cached.  Empty for a task.
  """
  provider = seqio.get_mixture_or_task(mixture)
  _check_split(mixture, provider, split)
  if isinstance(provider, seqio.Task):
    return {}
  found = {
    task.name: provider.get_rate(task)
    for task in provider.tasks
    if split in task.splits
  }
  return {name: rate for name, rate in found.items() if rate > 0}


def facts(name: str, split: str = "train") -> dict[str, Any]:
  """What tells one state of a task's data from another, JSON-able.

  Of a function that makes data nothing but its name is seen: a task whose
  function changes what it makes should change its own name too.
  """
  task = _task(name, split)
  return {
    "task": task.name,
    "source": type(task.source).__name__,
    "shards": list(task.source.list_shards(split)),
    "steps": [_step_name(step) for step in task.preprocessors],
  }


def token_chunks(
  name: str,
  lengths: Mapping[TowerName, int],
  split: str = "train",
  on_bad_line: lines.OnBadLine = "error",
  report: lines.Report | None = None,
) -> Iterator[TokenChunk]:
  """The examples of a task, in its order, with EOS last in every text.

  Args:
    lengths: most tokens a text of each tower keeps, EOS included.
    on_bad_line: what to do with an example whose query or passage is empty.
    report: takes a summary of what was skipped.
  """
  eos = tokenizer_of(name).eos_id
  num_read, num_empty = 0, 0
  features = _read(_task(name, split), lengths, split)
  while read := list(itertools.islice(features, _EXAMPLES_PER_CHUNK)):
    good = [one for one in read if not _is_empty(one, eos)]
    num_read, num_empty = (
      num_read + len(read),
      num_empty + len(read) - len(good),
    )
    if num_empty and on_bad_line == "error":
      raise ValueError(
        f"task {name!r}: an empty query or passage among the first"
        f" {num_read} examples: repair the data or skip bad lines"
      )
    yield _chunk(good, lengths, eos)
  if num_empty and report:
    report(
      f"task {name!r}: skipped {num_empty} of {num_read} examples whose query"
      " or passage is empty"
    )


def _task(name: str, split: str) -> seqio.Task:
  task = seqio.TaskRegistry.get(name)
  _check_split(name, task, split)
  return task


def _check_split(
  name: str, provider: seqio.Task | seqio.Mixture, split: str
) -> None:
  if split not in provider.splits:
    raise ValueError(
      f"task {name!r} has no split {split!r} among {sorted(provider.splits)}:"
      " choose one of them"
    )


def _dataset(
  task: seqio.Task, lengths: Mapping[TowerName, int], split: str
) -> tf.data.Dataset:
  # A length of one token more than fits shows which texts are too long.
  return task.get_dataset(
    sequence_length={
      feature: lengths[tower] + 1
      for feature, tower in _TOWERS.items()
      if feature in task.output_features
    },
    split=split,
    shuffle=False,
    use_cached=task.requires_caching,
    trim_output_features=False,
  )


def _read(
  task: seqio.Task,
  lengths: Mapping[TowerName, int],
  split: str,
) -> Iterator[_Features]:
  dataset = _dataset(task, lengths, split)
  try:
    yield from cast(Iterator[_Features], dataset.as_numpy_iterator())
  except tf.errors.OpError as error:
    raise ValueError(f"task {task.name!r}: {_reason(error)}") from error


def _reason(error: tf.errors.OpError) -> str:
  """The one line that matters of an error that crossed TensorFlow."""
  messages = error.message.splitlines()
  for name in (lines.BadLineError.__name__, "Error"):
    for line in messages:
      if f"{name}: " in line:
        return line.partition(f"{name}: ")[2]
  return messages[0] if messages else type(error).__name__


def _chunk(
  examples: list[_Features], lengths: Mapping[TowerName, int], eos: int
) -> TokenChunk:
  converted = [_example(features, lengths, eos) for features in examples]
  return TokenChunk(
    [example for example, _, _ in converted],
    {
      "query": sum(cut for _, cut, _ in converted),
      "passage": sum(cut for _, _, cut in converted),
    },
  )


def _example(
  features: _Features, lengths: Mapping[TowerName, int], eos: int
) -> tuple[TokenExample, int, int]:
  """An example, and how many queries and passages were cut in it."""
  query = _content(features["inputs"], eos)
  positives = [*_texts(features, "targets"), *_texts(features, "other_targets")]
  negatives = _texts(features, "negative_targets")
  ids = [
    *_ids(features, "query_id", 1),
    *_ids(features, "positive_ids", len(positives)),
    *_ids(features, "negative_ids", len(negatives)),
  ]
  passages = [_content(text, eos) for text in (*positives, *negatives)]
  # A row of zeros is what a shorter list of passages is padded with.
  kept = [number for number, text in enumerate(passages) if text.size]
  example = TokenExample(
    texts=[
      _with_eos(query, lengths["query"], eos),
      *(_with_eos(passages[n], lengths["passage"], eos) for n in kept),
    ],
    num_positives=sum(number < len(positives) for number in kept),
    ids=[ids[0], *(ids[1 + number] for number in kept)],
  )
  num_cut = sum(text.size >= lengths["passage"] for text in passages)
  return example, int(query.size >= lengths["query"]), num_cut


def _is_empty(features: _Features, eos: int) -> bool:
  return not (
    _content(features["inputs"], eos).size
    and _content(features["targets"], eos).size
  )


def _texts(features: _Features, name: str) -> list[np.ndarray]:
  """Rows of a feature that may be absent, of rank 1 or of rank 2."""
  return list(np.atleast_2d(features[name])) if name in features else []


def _ids(features: _Features, name: str, num_texts: int) -> list[str | None]:
  if name not in features:
    return [None] * num_texts
  values = [
    value.decode() if isinstance(value, bytes) else str(value)
    for value in np.atleast_1d(features[name]).tolist()
  ]
  if len(values) != num_texts:
    raise ValueError(
      f"feature {name!r} has {len(values)} ids for {num_texts} texts: give one"
      " id a text"
    )
  return [value or None for value in values]


def _content(ids: np.ndarray, eos: int) -> np.ndarray:
  """Token ids without padding and EOS."""
  return ids[(ids != vocabulary.PAD_ID) & (ids != eos)]


def _with_eos(content: np.ndarray, length: int, eos: int) -> np.ndarray:
  return np.append(content[: length - 1], eos).astype(np.int32)


def _step_name(step: Any) -> str:
  function = getattr(step, "func", step)  # Of a functools.partial.
  return getattr(function, "__qualname__", type(function).__name__)
