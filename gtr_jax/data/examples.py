"""From the names of tasks, or paths of files, to token stores and a tokenizer.

The way in for everything that trains.  A name stands for what `task_names.py`
says; several make a mixture.
"""

import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gtr_jax.data import (
  mixing_rates,
  task_names,
  token_store,
  token_store_writer,
  tokenization,
  vocabulary,
)
from gtr_jax.data.mixture import Mixture, Part
from gtr_jax.files import lines
from gtr_jax.types import TowerName

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Opening:
  """What opening a task needs besides its name.

  Attributes:
    lengths: most tokens of a text: `query` and `passage`, or T5X's `inputs`
      and `targets`.
    vocab_size: of a tokenizer that is trained.
    directory: where stores and trained vocabularies are kept and found again.
    query_prompt, passage_prompt: of a tokenizer that is trained.
    names: of tasks and mixtures, besides those that `task_names` knows.
    on_bad_line: "skip" leaves bad lines out and reports them.
    report: takes what was left out, a line a file.  It is repeated when a
      store is found again.
    progress: takes the number of examples tokenised so far, now and then.
  """

  lengths: Mapping[str, int]
  vocab_size: int
  directory: pathlib.Path
  query_prompt: str = ""
  passage_prompt: str = ""
  names: task_names.Names = task_names.NONE
  on_bad_line: lines.OnBadLine = "error"
  report: lines.Report = lines.to_standard_error
  progress: Progress | None = None


def open_tasks(
  tasks: mixing_rates.Tasks,
  opening: Opening,
  tokenizer: vocabulary.Tokenizer | None = None,
  mixing: mixing_rates.Mixing | None = None,
) -> tuple[Mixture, vocabulary.Tokenizer]:
  """The tokenised examples of tasks, and what tokenised them.

  Args:
    tasks: the name of one, or of a SeqIO mixture; names, mixed by their sizes;
      or names with rates.
    tokenizer: None takes the SeqIO tasks' own, and trains one where there are
      only texts.

  Raises:
    ValueError: no such task, bad data, lengths with other keys, or rates that
      make no mixture.
  """
  mixing = mixing or mixing_rates.Mixing()
  lines.check_mode(opening.on_bad_line)
  towers = tower_lengths(opening.lengths)
  rates = mixing_rates.tasks_with_rates(tasks, opening.names)
  mixing_rates.check(mixing, rates)
  texts = {
    task: task_names.open_task(task, opening.on_bad_line, opening.names)
    for task in rates
  }
  tokenizer = _tokenizer(texts, tokenizer, opening)
  parts = []
  for task, source in texts.items():
    prompts = mixing.prompts.get(task)
    if source is None:
      tokens = _registered(task, towers, tokenizer, opening.on_bad_line)
      if prompts is not None:
        raise ValueError(
          f"prompts are given for {task!r}, whose texts are tokens already:"
          " give them where SeqIO's task is registered"
        )
    else:
      own = prompts and vocabulary.Tokenizer(tokenizer.model_bytes, *prompts)
      tokens = _tokenized(source, towers, own or tokenizer)
    store = _store(tokens, towers, opening)
    parts.append(
      Part(task, store, mixing_rates.rate_of(rates[task], len(store), mixing))
    )
  return Mixture(parts, mixing.homogeneous), tokenizer


def bring_vocabulary(
  tasks: mixing_rates.Tasks, names: task_names.Names = task_names.NONE
) -> bool:
  """Whether a task has a vocabulary of its own, as SeqIO's tasks have."""
  return not all(
    task_names.is_text(task, names)
    for task in mixing_rates.tasks_with_rates(tasks, names)
  )


def tower_lengths(lengths: Mapping[str, int]) -> dict[TowerName, int]:
  """Lengths by tower, from ours or T5X's names of them."""
  if set(lengths) not in ({"query", "passage"}, {"inputs", "targets"}):
    raise ValueError(
      f"lengths are given for {', '.join(sorted(lengths)) or 'nothing'}: give"
      " them for 'inputs' and 'targets' (or 'query' and 'passage')"
    )
  towers: dict[TowerName, int] = {}
  for name, length in lengths.items():
    if isinstance(length, bool) or not isinstance(length, int) or length < 2:
      raise ValueError(
        f"the length of {name!r} is {length!r}: give 2 tokens or more, the"
        " last is EOS"
      )
    towers["query" if name in ("query", "inputs") else "passage"] = length
  return towers


@dataclass(frozen=True)
class _TokenSource:
  """Token examples, and what tells one state of them from another."""

  facts: Mapping[str, Any]
  tokenizer: vocabulary.Tokenizer
  chunks: Callable[[lines.Report], Iterator[tokenization.TokenColumns]]


def _tokenizer(
  texts: Mapping[str, task_names.TextSource | None],
  given: vocabulary.Tokenizer | None,
  opening: Opening,
) -> vocabulary.Tokenizer:
  """One for all tasks."""
  tokenizer = given
  for task, source in texts.items():
    if source is None:
      own = _own_tokenizer(task)
      if tokenizer is not None and not tokenizer.agrees_with(own):
        raise ValueError(
          f"task {task!r} is tokenised by another vocabulary than the"
          f" {'one given' if given else 'tasks before it'}: leave the"
          " vocabulary out, or register the task with it"
        )
      tokenizer = tokenizer or own
  if tokenizer is not None:
    return tokenizer
  sources = [source for source in texts.values() if source is not None]
  return vocabulary.Tokenizer(
    _trained(sources, opening).model_bytes,
    opening.query_prompt,
    opening.passage_prompt,
  )


def _own_tokenizer(task: str) -> vocabulary.Tokenizer:
  from gtr_jax.data import tasks_reader

  return tasks_reader.tokenizer_of(task)


def _registered(
  task: str,
  towers: Mapping[TowerName, int],
  tokenizer: vocabulary.Tokenizer,
  on_bad_line: lines.OnBadLine,
) -> _TokenSource:
  from gtr_jax.data import tasks_reader

  return _TokenSource(
    {"seqio": tasks_reader.facts(task), "bad": on_bad_line},
    tokenizer,
    lambda note: (
      chunk.columns()
      for chunk in tasks_reader.token_chunks(
        task, towers, on_bad_line=on_bad_line, report=note
      )
    ),
  )


def _tokenized(
  source: task_names.TextSource,
  towers: Mapping[TowerName, int],
  tokenizer: vocabulary.Tokenizer,
) -> _TokenSource:
  return _TokenSource(
    source.facts,
    tokenizer,
    lambda note: tokenization.tokenize(source.pairs(note), tokenizer, towers),
  )


def _store(
  source: _TokenSource, towers: Mapping[TowerName, int], opening: Opening
) -> token_store.TokenStore:
  """The store of a source, built if it is not there."""
  notes: list[str] = []
  facts = {
    "source": source.facts,
    "lengths": towers,
    "tokenizer": source.tokenizer.sha256,
    "prompts": [
      source.tokenizer.query_prompt,
      source.tokenizer.passage_prompt,
    ],
  }
  store = token_store_writer.build(
    pathlib.Path(opening.directory),
    token_store_writer.fingerprint_of(facts),
    _counted(source.chunks(notes.append), opening.progress),
    vocab_size=source.tokenizer.vocab_size,
    lengths=towers,
    notes=notes,
  )
  for note in store.notes:
    opening.report(note)
  return store


def _trained(
  sources: Sequence[task_names.TextSource], opening: Opening
) -> vocabulary.Tokenizer:
  """A vocabulary of the sources' own texts, trained once and kept."""
  facts = [source.facts for source in sources]
  fingerprint = token_store_writer.fingerprint_of(
    {"source": facts, "vocab_size": opening.vocab_size}
  )
  kept = pathlib.Path(opening.directory) / f"vocabulary-{fingerprint[:24]}"
  if not (kept / vocabulary.SETTINGS_FILE).exists():
    unsaid = lambda note: None  # Reported when the store is built.
    texts = (
      text
      for source in sources
      for pair in source.pairs(unsaid)
      for text in (pair.query, *pair.positives, *pair.negatives)
    )
    vocabulary.save(vocabulary.train(texts, opening.vocab_size), kept)
  return vocabulary.load_directory(kept)


def _counted(
  chunks: Iterable[tokenization.TokenColumns], progress: Progress | None
) -> Iterator[tokenization.TokenColumns]:
  num_examples = 0
  for chunk in chunks:
    yield chunk
    num_examples += len(chunk)
    if progress is not None:
      progress(num_examples)
