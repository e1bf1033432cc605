"""Rankings, and the TREC run files that hold them."""

import math
import pathlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int64

from gtr_jax.files import lines, whole

_NO_PASSAGE = -1


@dataclass(frozen=True)
class Ranking:
  """The best passages of each query, best first.

  Of equal scores the passage that comes first in the corpus comes first.  A
  query with fewer than R passages has position -1 and score -inf at the end.

  Attributes:
    query_ids: [Q].
    corpus_ids: [C]; may be read from disk one at a time.
    positions: places in `corpus_ids`.
    scores: of those passages.
  """

  query_ids: Sequence[str]
  corpus_ids: Sequence[str]
  positions: Int64[np.ndarray, "Q R"]
  scores: Float32[np.ndarray, "Q R"]

  def __post_init__(self):
    shape = (len(self.query_ids), self.positions.shape[-1])
    if self.positions.shape != shape or self.scores.shape != shape:
      raise ValueError(
        f"{shape[0]} query ids came with positions {self.positions.shape} and"
        f" scores {self.scores.shape}; both must have a row for each query"
      )

  def hits(self, row: int) -> list[tuple[str, float]]:
    """Passage ids and scores of one query, by its row."""
    return [
      (self.corpus_ids[int(position)], float(score))
      for position, score in zip(
        self.positions[row], self.scores[row], strict=True
      )
      if position != _NO_PASSAGE
    ]

  def passage_ids(self) -> dict[str, list[str]]:
    """Query id to passage ids, best first."""
    return {
      query: [passage for passage, _ in self.hits(row)]
      for row, query in enumerate(self.query_ids)
    }


def write_run(
  path: str | pathlib.Path, ranking: Ranking, tag: str = "gtr_jax"
) -> None:
  """Writes a TREC run: `query Q0 passage rank score tag`, ranks from 1.

  Scores keep all the digits of float32.

  Raises:
    ValueError: an id that is empty or has white space in it, which would
      shift the columns.
  """
  _check_id(tag, "tag")
  with whole.writing(pathlib.Path(path)) as stream:
    for row, query in enumerate(ranking.query_ids):
      _check_id(query, "query id")
      for rank, (passage, score) in enumerate(ranking.hits(row), start=1):
        _check_id(passage, "passage id")
        line = f"{query} Q0 {passage} {rank} {score:.9g} {tag}\n"
        stream.write(line.encode())


def read_run(path: str | pathlib.Path) -> Ranking:
  """Reads a TREC run; the score is what ranks, the rank only breaks ties.

  Queries come in the order of their first line, which need not be followed by
  all the others of that query.

  Raises:
    ValueError: `file:line` and what is wrong there.
  """
  rows: dict[str, dict[int, tuple[float, int]]] = {}
  corpus: dict[str, int] = {}

  def take(number: int, line: str) -> None:
    del number
    query, passage, rank, score = _parse(line)
    position = corpus.setdefault(passage, len(corpus))
    entries = rows.setdefault(query, {})
    if position in entries:
      raise ValueError(
        f"passage {passage!r} was ranked for query {query!r} before: keep one"
        " of the lines"
      )
    entries[position] = (-score, rank)

  lines.take_lines(pathlib.Path(path), take)
  if not rows:
    raise ValueError(f"{path}: the run is empty: give a file with lines")
  return _from_rows(rows, list(corpus))


def _from_rows(
  rows: dict[str, dict[int, tuple[float, int]]], corpus_ids: list[str]
) -> Ranking:
  """A ranking from (-score, rank) by passage position by query."""
  depth = max(map(len, rows.values()))
  positions = np.full((len(rows), depth), _NO_PASSAGE, np.int64)
  scores = np.full((len(rows), depth), -np.inf, np.float32)
  for row, entries in enumerate(rows.values()):
    order = sorted(entries, key=entries.__getitem__)
    positions[row, : len(order)] = order
    scores[row, : len(order)] = [-entries[position][0] for position in order]
  return Ranking(list(rows), corpus_ids, positions, scores)


def _parse(line: str) -> tuple[str, str, int, float]:
  fields = line.split()
  if len(fields) != 6:
    raise ValueError(
      f"got {len(fields)} fields, due are 6: query Q0 passage rank score tag"
    )
  query, _, passage, rank, score, _ = fields
  try:
    number = float(score)
  except ValueError:
    number = math.nan
  if not math.isfinite(number):
    raise ValueError(f"the score is {score!r}, a finite number was due")
  try:
    return query, passage, int(rank), number
  except ValueError:
    raise ValueError(f"the rank is {rank!r}, a whole number was due") from None


def _check_id(text: str, name: str) -> None:
  if len(text.split()) != 1 or text != text.strip():
    raise ValueError(
      f"the {name} {text!r} is empty or has white space in it, a TREC run"
      " cannot hold it: rename it"
    )
