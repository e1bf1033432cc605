"""Test collections in BEIR's layout, read strictly.

  corpus.jsonl[.gz]    _id, text, and title where there is one
  queries.jsonl[.gz]   _id, text
  qrels/SPLIT.tsv      query-id, corpus-id, score, by tabs; header or not

Other fields are ignored.  Ids may be JSON numbers; they become strings.
"""

import pathlib
from collections.abc import Callable, Container, Iterator
from typing import Any

from gtr_jax.evaluation.collection import Collection, Qrels
from gtr_jax.files import fields, lines

Passages = dict[str, tuple[str, str]]  # Id to title and text.


def find(directory: str | pathlib.Path) -> list[pathlib.Path]:
  """The BEIR folders of a directory: itself, or else those just below it.

  Raises:
    ValueError: there is none.
  """
  root = pathlib.Path(directory)
  if not root.is_dir():
    raise ValueError(f"{root}: no such folder: a BEIR folder was due")
  files = ("corpus.jsonl", "queries.jsonl", "qrels")
  if any(_present(root, name) for name in files):
    return [root]
  below = [
    path
    for path in sorted(root.iterdir())
    if path.is_dir() and _present(path, "corpus.jsonl")
  ]
  if not below:
    raise ValueError(
      f"{root}: no corpus.jsonl or corpus.jsonl.gz here or one folder below:"
      " a BEIR folder has corpus.jsonl, queries.jsonl and qrels/SPLIT.tsv"
    )
  return below


def read(
  directory: str | pathlib.Path,
  split: str = "test",
  on_bad_line: lines.OnBadLine = "error",
  report: lines.Report | None = None,
) -> Collection:
  """Reads a BEIR folder.

  Args:
    on_bad_line: "skip" leaves out malformed lines, all but the first of
      duplicates, and judgements of unknown queries or passages, and counts
      them; "error" stops at the first.
    report: takes a summary a file of what was left out; None writes it to
      standard error.

  Raises:
    ValueError: a missing file, or nothing to evaluate.
    lines.BadLineError: a bad line, by file and line.
  """
  root = pathlib.Path(directory)
  corpus_path = _due(root, "corpus.jsonl")
  queries_path = _due(root, "queries.jsonl")
  qrels_path = _qrels_path(root, split)
  passages: Passages = {}
  queries: dict[str, str] = {}
  qrels: Qrels = {}
  num_skipped = sum(
    lines.take_lines(path, take, on_bad_line, report)
    for path, take in (
      (corpus_path, _passage_taker(passages)),
      (queries_path, _query_taker(queries)),
      (qrels_path, _judgement_taker(qrels, queries, passages)),
    )
  )
  answered = [q for q in queries if q in qrels and max(qrels[q].values()) > 0]
  if not answered:
    raise ValueError(f"{qrels_path}: no query has a relevant passage")
  return Collection(
    name=root.resolve().name,
    split=split,
    ids=list(passages),
    titles=[title for title, _ in passages.values()],
    texts=[text for _, text in passages.values()],
    queries={query: queries[query] for query in answered},
    qrels={query: qrels[query] for query in answered},
    num_skipped=num_skipped,
    num_unanswered=len(qrels) - len(answered),
  )


def judged_queries(
  directory: str | pathlib.Path,
  split: str = "test",
  on_bad_line: lines.OnBadLine = "error",
  report: lines.Report | None = None,
) -> dict[str, str]:
  """The queries of a split by their ids, without reading the corpus.

  Arguments and errors are those of `read`.
  """
  root = pathlib.Path(directory)
  queries_path = _due(root, "queries.jsonl")
  qrels_path = _qrels_path(root, split)
  queries: dict[str, str] = {}
  qrels: Qrels = {}
  take_query = _query_taker(queries)
  take_judgement = _judgement_taker(qrels, queries, None)
  lines.take_lines(queries_path, take_query, on_bad_line, report)
  lines.take_lines(qrels_path, take_judgement, on_bad_line, report)
  return {query: text for query, text in queries.items() if query in qrels}


def passages(
  directory: str | pathlib.Path,
  on_bad_line: lines.OnBadLine = "error",
  report: lines.Report | None = None,
) -> Iterator[tuple[str, str]]:
  """Ids and texts of a corpus, one by one; a title where there is no text.

  Arguments and errors are those of `read`; ids may come again.
  """
  path = _due(pathlib.Path(directory), "corpus.jsonl")
  return lines.parse_lines(path, _id_and_text, on_bad_line, report)


def _id_and_text(number: int, line: str) -> tuple[str, str]:
  del number
  record = lines.parse_object(line)
  text = fields.string(record.get("text"), "text")
  title = fields.optional_string(record.get("title"), "title")
  return fields.identifier(record.get("_id"), "_id"), text or title


def _present(root: pathlib.Path, name: str) -> pathlib.Path | None:
  paths = (root / name, root / f"{name}.gz")
  return next((path for path in paths if path.exists()), None)


def _due(root: pathlib.Path, name: str) -> pathlib.Path:
  path = _present(root, name)
  if path is None:
    raise ValueError(
      f"{root}: no {name} or {name}.gz: a BEIR folder has corpus.jsonl,"
      " queries.jsonl and qrels/SPLIT.tsv"
    )
  return path


def _qrels_path(root: pathlib.Path, split: str) -> pathlib.Path:
  path = root / "qrels" / f"{split}.tsv"
  if not path.is_file():
    splits = sorted(other.stem for other in path.parent.glob("*.tsv"))
    raise ValueError(
      f"{root}: no qrels/{split}.tsv: "
      + (f"its splits are {', '.join(splits)}" if splits else "it has no split")
    )
  return path


def _passage_taker(passages: Passages) -> Callable[[int, str], None]:
  def take(number: int, line: str) -> None:
    del number
    record = lines.parse_object(line)
    identifier = _new_id(record, passages)
    title = fields.optional_string(record.get("title"), "title")
    text = fields.string(record.get("text"), "text")
    passages[identifier] = (title, text)

  return take


def _query_taker(queries: dict[str, str]) -> Callable[[int, str], None]:
  def take(number: int, line: str) -> None:
    del number
    record = lines.parse_object(line)
    identifier = _new_id(record, queries)
    text = fields.string(record.get("text"), "text")
    if not text.strip():
      raise ValueError("'text' is empty, a query was due: delete the line")
    queries[identifier] = text

  return take


def _judgement_taker(
  qrels: Qrels, queries: Container[str], passages: Container[str] | None
) -> Callable[[int, str], None]:
  def take(number: int, line: str) -> None:
    cells = line.split("\t")
    if len(cells) != 3:
      raise ValueError(
        f"got {len(cells)} fields, due are 3 between tabs: query-id,"
        " corpus-id and score"
      )
    query, passage, score = cells
    if number == 1 and not any(letter.isdigit() for letter in score):
      return  # The header.
    relevance = _relevance(score)
    for identifier, known, file in (
      (query, queries, "queries.jsonl"),
      (passage, passages, "corpus.jsonl"),
    ):
      if known is not None and identifier not in known:
        raise ValueError(
          f"{identifier!r} is not in {file}: repair the files, or leave such"
          " judgements out with --on_bad_line=skip"
        )
    judgements = qrels.setdefault(query, {})
    if passage in judgements:
      raise ValueError(
        f"query {query!r} and passage {passage!r} were judged before: keep one"
        " of the lines"
      )
    judgements[passage] = relevance

  return take


def _relevance(score: str) -> int:
  try:
    return int(score)
  except ValueError:
    raise ValueError(
      f"the score is {score!r}, a whole number was due: repair the line"
    ) from None


def _new_id(record: dict[str, Any], known: Container[str]) -> str:
  identifier = fields.identifier(record.get("_id"), "_id")
  if "\t" in identifier or "\n" in identifier:
    raise ValueError(f"'_id' {identifier!r} holds a tab or a line end")
  if identifier in known:
    raise ValueError(f"'_id' {identifier!r} is taken by a line before it")
  return identifier
