"""What the name of a task stands for: pairs of text, or a task of SeqIO's.

TensorFlow is imported only where the name is that of a registered SeqIO task.
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
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from gtr_jax.data import python_docs, sources
from gtr_jax.data.pair import Pair
from gtr_jax.files import lines


@dataclass(frozen=True)
class TextSource:
  """Pairs of text, and what tells one state of them from another.

  Attributes:
    facts: JSON-able; another value means other pairs.
    placed: reads them anew at every call, each with its file and line, or the
      name of the task and its number, from 1.  What it takes is told of lines
      that are left out, in a summary and one by one.
  """

  facts: Mapping[str, Any]
  placed: Callable[[lines.Report, sources.Refused], Iterator[sources.Placed]]

  def pairs(self, report: lines.Report) -> Iterator[Pair]:
    """The pairs alone."""
    return (pair for *_, pair in self.placed(report, sources.unheard))


# Opens a task that has a name; it is called when the task is asked for.
OpenTask = Callable[[lines.OnBadLine], TextSource]


@dataclass(frozen=True)
class Names:
  """Names that others give, besides those that are known here.

  Attributes:
    tasks: how to open each.
    mixtures: of each, tasks with their rates.
  """

  tasks: Mapping[str, OpenTask] = field(default_factory=dict)
  mixtures: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


NONE = Names()

BUILT_IN: dict[str, Callable[[], Iterator[Pair]]] = {
  "python_docs_stage1": python_docs.stage1_pairs,
  "python_docs_stage2": python_docs.stage2_pairs,
}


def open_task(
  task: str, on_bad_line: lines.OnBadLine = "error", names: Names = NONE
) -> TextSource | None:
  """Where the pairs of a task are; None if it is a task of SeqIO's.

  Args:
    task: `python_docs_stage1`, `python_docs_stage2`, the path of a JSONL file
      (or a pattern, or several with commas between), a task of `names`, or that
      of a SeqIO task or mixture which an imported module has registered.

  Raises:
    ValueError: no such task, or no such file.
  """
  if task in names.tasks:
    return names.tasks[task](on_bad_line)
  if task in BUILT_IN:
    # Small, slow to make, and read twice where a vocabulary is trained.
    kept = functools.cache(lambda: list(BUILT_IN[task]()))
    return TextSource(
      _built_in_facts(task), lambda *_: sources.numbered(task, kept())
    )
  if _is_path(task):
    files = _files(task)
    return TextSource(
      {"files": [*map(file_facts, files)], "bad": on_bad_line},
      functools.partial(sources.read_placed, files, on_bad_line),
    )
  registered = _seqio_names()
  if task in registered:
    return None
  known = [*BUILT_IN, *names.tasks, *names.mixtures, *registered]
  near = difflib.get_close_matches(task, known, n=3)
  raise ValueError(
    f"there is no task {task!r}, the nearest are"
    f" {', '.join(map(repr, near or BUILT_IN))}: give a task that an imported"
    " module registers, or the path of a .jsonl file"
  )


def is_text(task: str, names: Names = NONE) -> bool:
  """Whether a task has texts; SeqIO's tasks have token ids."""
  return task in names.tasks or task in BUILT_IN or _is_path(task)


def rates(name: str, names: Names = NONE) -> Mapping[str, float | None]:
  """Tasks and rates of what may be a mixture; a task alone has no rate."""
  if name in names.mixtures:
    return names.mixtures[name]
  if is_text(name, names) or name not in _seqio_names():
    return {name: None}
  from gtr_jax.data import tasks_reader

  return tasks_reader.rates(name) or {name: None}


def _is_path(task: str) -> bool:
  """SeqIO's names have none of these characters or endings."""
  return (
    any(character in task for character in "/\\,*?[~")
    or task.endswith((".jsonl", ".json", ".gz"))
    or os.path.exists(task)
  )


def _files(task: str) -> list[pathlib.Path]:
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


def file_facts(file: pathlib.Path) -> dict[str, Any]:
  """What changes when somebody writes to a file."""
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
