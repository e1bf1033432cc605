"""Tasks by name: which files of the data folder they are, and how to read them.

A name is looked up when it is asked for, so only the files of tasks in use
need to be there.
"""

import functools
import glob
import os
import pathlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gtr_jax.data import negative_rules, sources, task_names
from gtr_jax.data.pair import Pair
from gtr_jax.files import lines
from gtr_jax.labelled import formats, ledger, settings

# Names the data folder where no macro or flag does.
DATA_DIR_VARIABLE = "GTR_DATA_DIR"
# Names the SentencePiece model where SeqIO's or T5X's programs run the tasks.
VOCABULARY_VARIABLE = "GTR_VOCABULARY"
# A query's candidates for negatives; the epochs take them in turn.
_NEGATIVES = negative_rules.Rules(num_negatives=30)


@dataclass(frozen=True)
class Task:
  """Files of the data folder as pairs.

  Attributes:
    about: what it is, for people.
    files: patterns below the data folder, each of which must match.
    optional: patterns of files that are taken if they are there.
    dataset: name in the catalogue of another library, instead of files.
    format: one of `labelled.formats`; None: JSONL of pairs.
    fraction: share of the queries.
  """

  about: str
  files: tuple[str, ...] = ()
  optional: tuple[str, ...] = ()
  dataset: str | None = None
  format: str | None = None
  fraction: float = 1.0


def _msmarco(*files: str) -> tuple[str, ...]:
  names = ("collection.tsv", "queries.train.tsv", *files)
  return tuple(f"msmarco/{name}*" for name in names)


_ROCKETQA: dict[str, Any] = {
  "files": ("rocketqa/**/marco_de1_denoise.tsv*",),
  "optional": ("rocketqa/**/marco/**/train.query.txt*",),
  "format": "rocketqa",
}
# The data sets of BEIR that have queries for training.
_BEIR = ("fever", "fiqa", "hotpotqa", "msmarco", "nfcorpus", "nq", "scifact")


def _beir(name: str) -> Task:
  files = ("corpus.jsonl", "queries.jsonl", "qrels/train.tsv")
  return Task(
    f"BEIR's folder {name}, its judgements for training",
    tuple(f"beir/{name}/{file}*" for file in files),
    format="beir",
  )


TASKS: Mapping[str, Task] = {
  "community_qa": Task(
    "pairs that `gtr community` made, of all sites",
    ("community_qa/**/*.jsonl*",),
  ),
  "msmarco": Task(
    "MS MARCO's judgements, no hard negatives",
    _msmarco("qrels.train.tsv"),
    format="msmarco",
  ),
  "msmarco_triples": Task(
    "MS MARCO with the negatives of its triples",
    _msmarco("qidpidtriples.train.full.2.tsv"),
    ("msmarco/qrels.train.tsv*",),
    format="msmarco",
  ),
  "msmarco_hard_negatives": Task(
    "MS MARCO with sentence-transformers' lists of hard negatives",
    _msmarco("msmarco-hard-negatives*.jsonl"),
    ("msmarco/qrels.train.tsv*", "msmarco/*scores*.json*"),
    format="msmarco",
  ),
  "msmarco_rocketqa": Task(
    "the paper's second stage: MS MARCO with titles and RocketQA's negatives",
    **_ROCKETQA,
  ),
  "msmarco_rocketqa_10_percent": Task(
    "the same of a tenth of the queries: the paper's Table 4",
    **_ROCKETQA,
    fraction=0.1,
  ),
  "nq_rocketqa": Task(
    "Natural Questions with RocketQA's negatives",
    ("rocketqa/**/nq_de1_denoise.tsv*",),
    ("rocketqa/**/nq/**/train.query.txt*",),
    format="rocketqa",
  ),
  "nq_dpr": Task(
    "Natural Questions with DPR's hard negatives",
    ("dpr/biencoder-nq-train.json*",),
    format="nq",
  ),
  "msmarco_tevatron": Task(
    "MS MARCO as Tevatron publishes it, with titles",
    ("tevatron/msmarco-passage/train*.jsonl*",),
    format="tevatron",
  ),
  "nq_tevatron": Task(
    "Natural Questions as Tevatron publishes them",
    ("tevatron/wikipedia-nq/train*.jsonl*",),
    format="tevatron",
  ),
  **{f"beir_{name}": _beir(name) for name in _BEIR},
  "beir_msmarco_retrieval": Task(
    "T5X Retrieval's task: beir/msmarco of TensorFlow Datasets",
    dataset="beir/msmarco",
    format="tfds",
  ),
  "ir_msmarco_passage": Task(
    "msmarco-passage/train of ir_datasets",
    dataset="msmarco-passage/train",
    format="ir_datasets",
  ),
}

MIXTURES: Mapping[str, Mapping[str, float]] = {
  # About as many queries as the two have.
  "msmarco_and_nq": {"msmarco_rocketqa": 9, "nq_rocketqa": 1},
}


def data_folder(data_dir: str | None) -> pathlib.Path | None:
  """The folder that was given, or else that of the environment."""
  folder = data_dir or os.environ.get(DATA_DIR_VARIABLE)
  return pathlib.Path(folder).expanduser() if folder else None


def vocabulary_path() -> str:
  """The SentencePiece model file of the environment."""
  path = os.environ.get(VOCABULARY_VARIABLE)
  if not path:
    raise ValueError(
      f"SeqIO's tasks need a vocabulary: set {VOCABULARY_VARIABLE} in the"
      " environment to a SentencePiece model file"
    )
  return path


def names(data_dir: str | None = None) -> task_names.Names:
  """All tasks, to be opened below a folder, and the mixtures."""
  folder = data_folder(data_dir)
  return task_names.Names(
    {name: functools.partial(open_task, name, folder) for name in TASKS},
    MIXTURES,
  )


def open_task(
  name: str,
  folder: pathlib.Path | None,
  on_bad_line: lines.OnBadLine = "error",
) -> task_names.TextSource:
  """The pairs of a task.

  Raises:
    ValueError: no folder, or the files are not in it.
  """
  task = TASKS[name]
  files = _files(name, task, folder) if task.dataset is None else []
  facts = {
    "task": name,
    "dataset": task.dataset,
    "files": [*map(task_names.file_facts, files)],
    "fraction": task.fraction,
    "bad": on_bad_line,
  }
  if task.format is None:
    read = functools.partial(sources.read_placed, files, on_bad_line)
    return task_names.TextSource(facts, read)
  read = functools.partial(_labelled, task, files, on_bad_line)
  return task_names.TextSource(
    facts, lambda report, _: sources.numbered(name, read(report))
  )


def _labelled(
  task: Task,
  files: list[pathlib.Path],
  on_bad_line: lines.OnBadLine,
  report: lines.Report,
) -> Iterator[Pair]:
  assert task.format is not None
  chosen = settings.Settings(
    cache=settings.default_cache(), rules=_NEGATIVES, fraction=task.fraction
  )
  book = ledger.Ledger(on_bad_line, report)
  inputs = files if task.dataset is None else [task.dataset]
  for labelled in formats.read(task.format, inputs, chosen, book):
    yield labelled.pair


def _files(
  name: str, task: Task, folder: pathlib.Path | None
) -> list[pathlib.Path]:
  if folder is None:
    raise ValueError(
      f"task {name!r} is read from a data folder, and none is named: set"
      f" DATA_DIR, or {DATA_DIR_VARIABLE} in the environment"
    )
  found = []
  for pattern in (*task.files, *task.optional):
    matches = sorted(glob.glob(str(folder / pattern), recursive=True))
    if not matches and pattern in task.files:
      raise ValueError(
        f"task {name!r}: nothing matches {folder / pattern}: put the files"
        " there, docs/data.md tells where they come from"
      )
    found += map(pathlib.Path, matches)
  return found
