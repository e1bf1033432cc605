"""RocketQA's files (NAACL 2021): MS MARCO and NQ with titles.

  para.txt              passage id, text
  para.title.txt        passage id, title; "-" or no line: it has none
  SPLIT.query.txt       query id, text
  qrels.SPLIT.tsv       query id, passage id
  *_de1_denoise.tsv     training files, see `rocketqa_training.py`

A training file holds the texts themselves; with SPLIT.query.txt beside it the
queries have their ids.  Without a training file the judgements are read.

Source: the README and data_process/ of research/RocketQA_NAACL2021
(https://github.com/PaddlePaddle/RocketQA).
"""

import pathlib
from collections.abc import Iterator, Sequence

from gtr_jax.labelled import (
  archives,
  inputs,
  judged,
  qrels,
  rocketqa_training,
  stores,
  tables,
)
from gtr_jax.labelled.ledger import Ledger
from gtr_jax.labelled.question import Question
from gtr_jax.labelled.settings import Settings
from gtr_jax.labelled.text_store import TextStore

DUE = (
  "a training file such as marco_de1_denoise.tsv, or para.txt, para.title.txt,"
  " SPLIT.query.txt and qrels.SPLIT.tsv"
)


def questions(
  paths: Sequence[str | pathlib.Path], settings: Settings, ledger: Ledger
) -> Iterator[Question]:
  """The questions of folders and files.

  Raises:
    ValueError: files that are missing or do not belong together.
    lines.BadLineError: bad data, unless it is left out.
  """
  paths = archives.unpacked(paths, settings.cache)
  split = settings.split.replace(".", r"\.")
  found = inputs.find(paths, _patterns(split), _by_name(), DUE)
  if found.get("untitled corpus"):
    raise ValueError(
      f"{found['untitled corpus'][0]}: is Microsoft's corpus, without titles:"
      " read it with --format=msmarco"
    )
  if found.get("training"):
    path = inputs.single(found, "training", "")
    queries = inputs.optional(found, "queries")
    ids = _ids_of_texts(queries, settings, ledger) if queries else None
    return rocketqa_training.questions(path, ids, settings, ledger)
  return _judged(found, settings, ledger)


def _patterns(split: str) -> inputs.Patterns:
  return {
    "passages": r"para\.txt",
    "titles": r"para\.title\.txt",
    "queries": rf"{split}\.query\.txt",
    "judgements": rf"qrels\.{split}\.tsv",
    "untitled corpus": r"collection\.tsv",
    "training": r".*_(de|ce)\d.*\.tsv",
  }


def _by_name() -> inputs.Patterns:
  return {
    **_patterns(".+?"),
    "queries": r".*query.*\.txt",
    "more judgements": r"qrels\..+\.addition\.tsv",
    "judgements": r"qrels\..+\.tsv",
    "training": r".*\.tsv",
  }


def _judged(
  found: inputs.Files, settings: Settings, ledger: Ledger
) -> Iterator[Question]:
  split = settings.split
  titles = inputs.optional(found, "titles")
  if titles is None and settings.titles != "drop":
    raise ValueError(
      "there is no para.title.txt, and RocketQA's corpus has titles: add the"
      " file, or give --titles=drop for the corpus without"
    )
  texts = inputs.single(found, "passages", f"para.txt was due; or {DUE}")
  with_titles = titles if settings.titles != "drop" else None
  passages = _corpus(texts, with_titles, settings, ledger)
  queries = stores.of_files(
    [inputs.single(found, "queries", f"{split}.query.txt was due")],
    _read_texts,
    {"reader": "rocketqa"},
    settings,
    ledger,
  )
  more = found.get("more judgements", [])
  given = inputs.single(found, "judgements", f"qrels.{split}.tsv was due")
  judgements = stores.judgements(
    [given, *more], qrels.read, queries, passages, settings, ledger
  )
  return judged.questions(queries, passages, judgements, settings, ledger)


def _corpus(
  texts: pathlib.Path,
  titles: pathlib.Path | None,
  settings: Settings,
  ledger: Ledger,
) -> TextStore:
  if titles is None:
    return stores.of_files(
      [texts], _read_texts, {"reader": "rocketqa"}, settings, ledger
    )
  known = stores.of_files(
    [titles], _read_titles, {"reader": "rocketqa titles"}, settings, ledger
  )

  def read(
    path: pathlib.Path, store_ledger: Ledger
  ) -> Iterator[tuple[int, stores.Row]]:
    num_found = 0
    for batch in stores.batches(_read_texts(path, store_ledger), 4096):
      found = known.find([identifier for _, (identifier, _, _) in batch])
      for (line, (identifier, _, text)), title in zip(
        batch, found, strict=True
      ):
        num_found += title is not None
        yield line, (identifier, title.text if title else "", text)
    if num_found < known.manifest["num_indexed"]:
      store_ledger.leave_out(
        "title_without_passage",
        f"{titles}: {known.manifest['num_indexed'] - num_found} of its ids are"
        f" not in {path}: the two are of one corpus, were due",
      )

  facts = {"reader": "rocketqa", "titles": known.directory.name}
  return stores.of_files([texts], read, facts, settings, ledger)


def _read_texts(
  path: pathlib.Path, ledger: Ledger
) -> Iterator[tuple[int, stores.Row]]:
  return tables.texts(path, ("id", "text"), ledger)


def _read_titles(
  path: pathlib.Path, ledger: Ledger
) -> Iterator[tuple[int, stores.Row]]:
  for line, (identifier, _, cell) in tables.texts(
    path, ("passage id", "title"), ledger
  ):
    yield line, (identifier, "", rocketqa_training.title(cell))


def _ids_of_texts(
  path: pathlib.Path, settings: Settings, ledger: Ledger
) -> TextStore:
  """Ids of queries by their texts."""

  def read(
    path: pathlib.Path, ledger: Ledger
  ) -> Iterator[tuple[int, stores.Row]]:
    for line, (identifier, _, text) in _read_texts(path, ledger):
      yield line, (text.strip(), "", identifier)

  return stores.of_files(
    [path], read, {"reader": "ids"}, settings, ledger, ids_repeat=True
  )
