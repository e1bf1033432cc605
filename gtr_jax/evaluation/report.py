"""Results on disk and on the screen, each figure with what it depends on."""

import datetime
import importlib.metadata
from collections.abc import Mapping, Sequence
from typing import Any

from gtr_jax.evaluation import measures
from gtr_jax.evaluation.evaluate import Results


def summary(results: Results) -> dict[str, Any]:
  """What `gtr evaluate --json` says of one collection."""
  num_cut = results.num_cut
  return {
    "queries": len(results.collection.queries),
    "corpus": len(results.collection.ids),
    **{name: round(results.means[name], 5) for name in measures.NAMES},
    "truncated": None if num_cut is None else sum(num_cut.values()),
    "policy": dict(results.policy),
  }


def macro_average(summaries: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
  """One summary of several: measures averaged, each collection once.

  BEIR reports CQADupStack so.  `datasets` holds what was averaged.
  """
  rows = list(summaries.values())
  num_cut = [row["truncated"] for row in rows]
  return {
    "queries": sum(row["queries"] for row in rows),
    "corpus": sum(row["corpus"] for row in rows),
    **{
      name: round(sum(row[name] for row in rows) / len(rows), 5)
      for name in measures.NAMES
    },
    "truncated": None if None in num_cut else sum(num_cut),
    "policy": {"average": "mean over the collections, each counts once"},
    "datasets": dict(summaries),
  }


def records(
  results: Results, source: Mapping[str, Any]
) -> list[dict[str, Any]]:
  """A record a measure for `results.jsonl`.

  Args:
    source: what made the ranking: the model and its checkpoint, a run file or
      BM25.
  """
  shared = {
    "dataset": results.collection.name,
    "split": results.collection.split,
    "queries": len(results.collection.queries),
    "corpus": len(results.collection.ids),
    "policy": dict(results.policy),
    **source,
    "gtr_jax": importlib.metadata.version("gtr_jax"),
    "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
  }
  return [
    {"measure": name, "value": results.means[name], **shared}
    for name in measures.NAMES
  ]


def query_records(results: Results) -> list[dict[str, Any]]:
  """A record a query with its measures, as a test of significance needs."""
  shared = {
    "dataset": results.collection.name,
    "split": results.collection.split,
  }
  return [
    {**shared, "query_id": query, **values}
    for query, values in results.per_query.items()
  ]


def table(rows: Mapping[str, Mapping[str, float]]) -> str:
  """A plain text table: a row a collection or system, a column a measure."""
  header = ["", *measures.NAMES]
  body = [
    [title, *(f"{values[name]:.4f}" for name in measures.NAMES)]
    for title, values in rows.items()
  ]
  widths = [max(map(len, column)) for column in zip(header, *body, strict=True)]
  return "\n".join(_line(cells, widths) for cells in [header, *body])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
  title, *figures = cells
  columns = [title.ljust(widths[0])]
  for figure, width in zip(figures, widths[1:], strict=True):
    columns.append(figure.rjust(width))
  return "  ".join(columns).rstrip()
