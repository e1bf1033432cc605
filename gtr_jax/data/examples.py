"""From the name of a task, or paths of files, to a token store and tokenizer.

The way in for everything that trains or looks at training data.  TensorFlow is
imported only where the name is that of a registered SeqIO task.
"""

import difflib
import functools
import glob
import hashlib
import os
import pathlib
import platform
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gtr_jax.data import (
  python_docs,
  sources,
  token_store,
  token_store_writer,
  tokenization,
  vocabulary,
)
from gtr_jax.data.pair import Pair
from gtr_jax.files import lines
from gtr_jax.types import TowerName

Progress = Callable[[int], None]

BUILT_IN: dict[str, Callable[[], Iterator[Pair]]] = {
  "python_docs_stage1": python_docs.stage1_pairs,
  "python_docs_stage2": python_docs.stage2_pairs,
}


def open_store(
  task: str,
  *,
  lengths: Mapping[str, int],
  tokenizer: vocabulary.Tokenizer | None,
  vocab_size: int,
  directory: pathlib.Path,
  query_prompt: str = "",
  passage_prompt: str = "",
  on_bad_line: lines.OnBadLine = "error",
  report: lines.Report | None = None,
  progress: Progress | None = None,
) -> tuple[token_store.TokenStore, vocabulary.Tokenizer]:
  """The tokenised examples of a task, and what tokenised them.

  Args:
    task: `python_docs_stage1`, `python_docs_stage2`, the path of a JSONL file
      (or a pattern, or several with commas between), or the name of a SeqIO
      task or mixture that an imported module has registered.
    lengths: most tokens of a text: `query` and `passage`, or T5X's `inputs`
      and `targets`.
    tokenizer: None takes a SeqIO task's own, and trains one on other data.
    vocab_size: of a tokenizer that is trained.
    query_prompt, passage_prompt: of a tokenizer that is trained.
    directory: where stores and trained vocabularies are kept and found again.
    on_bad_line: "skip" leaves bad lines out and reports them.
    report: takes what was left out, a line a file; None writes it to standard
      error.  It is repeated when a store is found again.
    progress: takes the number of examples tokenised so far, now and then.

  Raises:
    ValueError: no such task, bad data, or lengths with other keys.
  """
  lines.check_mode(on_bad_line)
  directory = pathlib.Path(directory)
  towers = tower_lengths(lengths)
  text_source = _text_source(task, on_bad_line)
  if text_source is None:
    source = _registered_source(task, towers, tokenizer, on_bad_line)
  else:
    tokenizer = tokenizer or vocabulary.Tokenizer(
      _trained(text_source, vocab_size, directory).model_bytes,
      query_prompt,
      passage_prompt,
    )
    source = _tokenized_source(text_source, towers, tokenizer)
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
    directory,
    token_store_writer.fingerprint_of(facts),
    _counted(source.chunks(notes.append), progress),
    vocab_size=source.tokenizer.vocab_size,
    lengths=towers,
    notes=notes,
  )
  for note in store.notes:
    (report or lines.to_standard_error)(note)
  return store, source.tokenizer


def brings_vocabulary(task: str) -> bool:
  """Whether a task has a vocabulary of its own, as SeqIO's tasks have."""
  return task not in BUILT_IN and not is_path(task)


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
class _TextSource:
  """Pairs of text, and what tells one state of them from another."""

  facts: Mapping[str, Any]
  pairs: Callable[[lines.Report], Iterator[Pair]]


@dataclass(frozen=True)
class _TokenSource:
  """Token examples, and what tells one state of them from another."""

  facts: Mapping[str, Any]
  tokenizer: vocabulary.Tokenizer
  chunks: Callable[[lines.Report], Iterator[tokenization.TokenChunk]]


def _text_source(task: str, on_bad_line: lines.OnBadLine) -> _TextSource | None:
  """Where the pairs of text are; None if the task is one of SeqIO's."""
  if task in BUILT_IN:
    # Small, slow to make, and read twice where a vocabulary is trained.
    kept = functools.cache(lambda: list(BUILT_IN[task]()))
    return _TextSource(_built_in_facts(task), lambda _: iter(kept()))
  if is_path(task):
    files = files_of(task)
    return _TextSource(
      {"files": [_file_facts(file) for file in files], "bad": on_bad_line},
      lambda note: sources.read_pairs(files, on_bad_line, note),
    )
  check_registered(task)
  return None


def check_registered(task: str) -> None:
  """Raises ValueError unless this is the name of a SeqIO task or mixture."""
  registered = _seqio_names()
  if task in registered:
    return
  near = difflib.get_close_matches(task, [*BUILT_IN, *registered], n=3)
  raise ValueError(
    f"there is no task {task!r}, the nearest are"
    f" {', '.join(map(repr, near or BUILT_IN))}: give a task that an imported"
    " module registers, or the path of a .jsonl file"
  )


def is_path(task: str) -> bool:
  """SeqIO's names have none of these characters or endings."""
  return (
    any(character in task for character in "/\\,*?[~")
    or task.endswith((".jsonl", ".json", ".gz"))
    or os.path.exists(task)
  )


def files_of(task: str) -> list[pathlib.Path]:
  """The files that paths and patterns with commas between stand for."""
  files = []
  # A file whose name has a comma in it is that file.
  parts = [task] if os.path.exists(task) else task.split(",")
  for part in filter(None, (part.strip() for part in parts)):
    path = os.path.expanduser(part)
    # A file whose name looks like a pattern is that file.
    found = [path] if os.path.exists(path) else sorted(glob.glob(path))
    if not found and glob.has_magic(path):
      raise ValueError(f"{part}: no file matches: check the pattern")
    files += map(pathlib.Path, found or [path])
  sources.check_files(files)
  return files


def _file_facts(file: pathlib.Path) -> dict[str, Any]:
  status = file.stat()
  return {
    "path": str(file.resolve()),
    "bytes": status.st_size,
    "modified": status.st_mtime_ns,
  }


def _built_in_facts(task: str) -> dict[str, Any]:
  """The pairs depend on the running Python and on how this room reads it."""
  code = hashlib.sha256()
  room = pathlib.Path(__file__).parent
  for file in [*sorted(room.glob("*.py")), room.parent / "bm25.py"]:
    code.update(file.read_bytes())
  return {
    "task": task,
    "python": [platform.python_version(), sysconfig.get_path("stdlib")],
    "code": code.hexdigest(),
  }


def _seqio_names() -> list[str]:
  # Where no module has imported SeqIO, none has registered a task.
  if "seqio" not in sys.modules:
    return []
  from gtr_jax.data import tasks_reader

  return tasks_reader.names()


def _registered_source(
  task: str,
  towers: Mapping[TowerName, int],
  tokenizer: vocabulary.Tokenizer | None,
  on_bad_line: lines.OnBadLine,
) -> _TokenSource:
  from gtr_jax.data import tasks_reader

  own = tasks_reader.tokenizer_of(task)
  if tokenizer is not None and not tokenizer.agrees_with(own):
    raise ValueError(
      f"task {task!r} is tokenised by another vocabulary than the one given:"
      " leave the vocabulary out, or register the task with it"
    )
  return _TokenSource(
    {"seqio": tasks_reader.facts(task), "bad": on_bad_line},
    tokenizer or own,
    lambda note: tasks_reader.token_chunks(
      task, towers, on_bad_line=on_bad_line, report=note
    ),
  )


def _tokenized_source(
  source: _TextSource,
  towers: Mapping[TowerName, int],
  tokenizer: vocabulary.Tokenizer,
) -> _TokenSource:
  return _TokenSource(
    source.facts,
    tokenizer,
    lambda note: tokenization.tokenize(source.pairs(note), tokenizer, towers),
  )


def _trained(
  source: _TextSource, vocab_size: int, directory: pathlib.Path
) -> vocabulary.Tokenizer:
  """A vocabulary of the source's own texts, trained once and kept."""
  fingerprint = token_store_writer.fingerprint_of(
    {"source": source.facts, "vocab_size": vocab_size}
  )
  kept = directory / f"vocabulary-{fingerprint[:24]}"
  if not (kept / vocabulary.SETTINGS_FILE).exists():
    unsaid = lambda note: None  # Reported when the store is built.
    texts = (
      text
      for pair in source.pairs(unsaid)
      for text in (pair.query, *pair.positives, *pair.negatives)
    )
    vocabulary.save(vocabulary.train(texts, vocab_size), kept)
  return vocabulary.load_directory(kept)


def _counted(
  chunks: Iterable[tokenization.TokenChunk], progress: Progress | None
) -> Iterator[tokenization.TokenChunk]:
  num_examples = 0
  for chunk in chunks:
    yield chunk
    num_examples += len(chunk.examples)
    if progress is not None:
      progress(num_examples)
