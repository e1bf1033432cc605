"""Microsoft's files of MS MARCO passage ranking, and lists of hard negatives.

  collection.tsv                   passage id, text
  queries.SPLIT.tsv                query id, text
  qrels.SPLIT.tsv                  query id, 0, passage id, 1
  *triples.SPLIT.*                 query id, positive id, negative id; or texts
  top1000.SPLIT.*                  query id, passage id, query, passage
  msmarco-hard-negatives*.jsonl    {"qid", "pos": [...], "neg": {system: [...]}}
  *scores.json                     {query id: {passage id: score}}

Each also as .gz, and inside a .tar.gz.  A list of negatives decides which
queries there are; without one it is the judgements.  This corpus has no titles:
RocketQA's has (`rocketqa.py`).
"""

import pathlib
import re
from collections.abc import Iterator, Sequence

from gtr_jax.labelled import (
  archives,
  hard_negatives,
  inputs,
  judged,
  qrels,
  stores,
  tables,
  top_ranked,
  triples,
)
from gtr_jax.labelled.ledger import Ledger
from gtr_jax.labelled.question import Question
from gtr_jax.labelled.settings import Settings
from gtr_jax.labelled.text_store import TextStore

DUE = (
  "collection.tsv, queries.SPLIT.tsv, qrels.SPLIT.tsv, triples, top1000,"
  " msmarco-hard-negatives.jsonl, a .json of scores, also as .gz or .tar.gz"
)
_LISTS = ("triples", "top-ranked passages", "hard negatives")
_WITH_TITLES = (
  "a corpus with titles is RocketQA's: read it with --format=rocketqa"
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
  in_folder = _patterns("." + settings.split)
  found = inputs.find(paths, in_folder, _patterns(None), DUE)
  if found.get("titles"):
    raise ValueError(f"{found['titles'][0]}: {_WITH_TITLES}")
  given = [role for role in _LISTS if found.get(role)]
  if len(given) > 1:
    raise ValueError(
      f"{found[given[0]][0]} and {found[given[1]][0]} both list negatives:"
      " name the files to take"
    )
  if given == ["triples"]:
    path = inputs.single(found, "triples", "")
    if triples.holds_texts(path, ledger):
      return triples.of_texts(path, settings, ledger)
  passages = stores.of_files(
    _due(found, "passages", "collection.tsv was due"),
    read_collection,
    {"reader": "collection"},
    settings,
    ledger,
  )
  queries = stores.of_files(
    _due(found, "queries", f"queries.{settings.split}.tsv was due"),
    read_queries,
    {"reader": "queries"},
    settings,
    ledger,
  )
  judgements = _judgements(found, queries, passages, settings, ledger)
  if not given:
    if judgements is None:
      raise ValueError(
        f"there is neither qrels.{settings.split}.tsv nor a list of negatives:"
        f" due were {DUE}"
      )
    return judged.questions(queries, passages, judgements, settings, ledger)
  (path,) = _due(found, given[0], "")[:1]
  joined = stores.Joined(queries, passages, judgements)
  if given == ["triples"]:
    return triples.of_ids(path, joined, settings, ledger)
  if given == ["top-ranked passages"]:
    return top_ranked.questions(path, joined, settings, ledger)
  scores = inputs.optional(found, "scores")
  return hard_negatives.questions(path, scores, joined, settings, ledger)


def read_collection(
  path: pathlib.Path, ledger: Ledger
) -> Iterator[tuple[int, stores.Row]]:
  """Ids and texts of passages."""
  return tables.texts(path, ("passage id", "text"), ledger, _WITH_TITLES)


def read_queries(
  path: pathlib.Path, ledger: Ledger
) -> Iterator[tuple[int, stores.Row]]:
  """Ids and texts of queries."""
  return tables.texts(path, ("query id", "query"), ledger)


def _patterns(ending: str | None) -> inputs.Patterns:
  """What names look like; None stands for any split."""
  split = r"(\..+?)?" if ending is None else re.escape(ending)
  return {
    "passages": r"collection\.tsv",
    "queries": rf"queries{split}\.tsv",
    "judgements": rf"qrels{split}\.tsv",
    "triples": rf".*triples{split}(\..*)?",
    "top-ranked passages": rf"top1000{split}(\..*)?|.+\.(run|trec)",
    "hard negatives": r".*hard-negatives.*\.jsonl",
    "scores": r".*scores.*\.json",
    "titles": r".*title.*",
  }


def _due(found: inputs.Files, role: str, due: str) -> list[pathlib.Path]:
  return [inputs.single(found, role, due)]


def _judgements(
  found: inputs.Files,
  queries: TextStore,
  passages: TextStore,
  settings: Settings,
  ledger: Ledger,
) -> TextStore | None:
  path = inputs.optional(found, "judgements")
  if path is None:
    return None
  return stores.judgements(
    [path], qrels.read, queries, passages, settings, ledger
  )
