"""BEIR folders as training data, and what a search found in them.

  corpus.jsonl       _id, text, and title where there is one
  queries.jsonl      _id, text
  qrels/SPLIT.tsv    query-id, corpus-id, score
  *.run, *.trec      a ranking, whose passages become negatives

Each also as .gz, and all in a .zip.  `evaluation/beir.py` reads them for tests,
in memory.
"""

import pathlib
from collections.abc import Iterator, Sequence

from gtr_jax.files import fields, lines
from gtr_jax.labelled import (
  archives,
  inputs,
  judged,
  qrels,
  stores,
  top_ranked,
)
from gtr_jax.labelled.ledger import Ledger
from gtr_jax.labelled.question import Question
from gtr_jax.labelled.settings import Settings

DUE = "a folder with corpus.jsonl, queries.jsonl and qrels/SPLIT.tsv"
_NAMES = {
  "corpus": r"corpus\.jsonl",
  "queries": r"queries\.jsonl",
  "judgements": r".+\.tsv",
  "ranking": r".+\.(run|trec)",
}


def questions(
  paths: Sequence[str | pathlib.Path], settings: Settings, ledger: Ledger
) -> Iterator[Question]:
  """The questions of a folder, or of its files named one by one.

  Raises:
    ValueError: a missing file.
    lines.BadLineError: bad data, unless it is left out.
  """
  given = archives.unpacked(paths, settings.cache)
  folders = [path for path in given if path.is_dir()]
  qrels_folders = [_qrels_folder(folder) for folder in folders]
  files = [folder / f"{settings.split}.tsv" for folder in qrels_folders]
  there = [path for path in files if path.is_file()]
  in_folder = {r: form for r, form in _NAMES.items() if r != "judgements"}
  found = inputs.find([*given, *there], in_folder, _NAMES, DUE)
  judgements = found.get("judgements")
  if not judgements:
    splits = [p.stem for folder in qrels_folders for p in folder.glob("*.tsv")]
    raise ValueError(
      f"there is no qrels/{settings.split}.tsv: the splits are"
      f" {', '.join(sorted(splits)) or 'none'}"
    )
  passages, queries = (
    stores.of_files(
      [inputs.single(found, role, f"due was {DUE}")],
      read_texts,
      {"reader": "beir"},
      settings,
      ledger,
    )
    for role in ("corpus", "queries")
  )
  judgement_store = stores.judgements(
    judgements, qrels.read, queries, passages, settings, ledger
  )
  ranking = inputs.optional(found, "ranking")
  if ranking:
    joined = stores.Joined(queries, passages, judgement_store)
    return top_ranked.questions(ranking, joined, settings, ledger)
  return judged.questions(queries, passages, judgement_store, settings, ledger)


def _qrels_folder(folder: pathlib.Path) -> pathlib.Path:
  """An unpacked archive has all its files in one folder."""
  qrels_folder = folder / "qrels"
  return qrels_folder if qrels_folder.is_dir() else folder


def read_texts(
  path: pathlib.Path, ledger: Ledger
) -> Iterator[tuple[int, stores.Row]]:
  """Ids, titles and texts of a corpus or of queries."""
  return ledger.parsed(path, _row)


def _row(line: str) -> stores.Row:
  record = lines.parse_object(line)
  return (
    fields.identifier(record.get("_id"), "_id"),
    fields.optional_string(record.get("title"), "title").strip(),
    fields.string(record.get("text"), "text"),
  )
