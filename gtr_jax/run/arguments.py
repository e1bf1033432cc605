"""Flags that several programs have."""

import argparse
from typing import Literal

from gtr_jax.evaluation import lengths


def add_gin(parser: argparse.ArgumentParser) -> None:
  """--gin_file, --gin_bindings and --gin_search_paths, as T5X has them."""
  parser.add_argument(
    "--gin_file",
    action="append",
    default=[],
    metavar="FILE",
    help="gin file, by path or by short name (experiments/demo_stage1.gin);"
    " repeatable, later files override",
  )
  parser.add_argument(
    "--gin_bindings",
    action="append",
    default=[],
    metavar="NAME=VALUE",
    help="the same as --gin.NAME=VALUE: sets a macro or a binding; a string"
    " has quotes of its own: --gin.MODEL_DIR=\"'out'\"",
  )
  parser.add_argument(
    "--gin_search_paths",
    default="",
    metavar="DIRS",
    help="comma-separated folders in which gin files are searched too",
  )


def add_model(parser: argparse.ArgumentParser, required: bool = True) -> None:
  """--model and --step."""
  parser.add_argument(
    "--model", required=required, metavar="DIR", help="model directory"
  )
  add_step(parser)


def add_step(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    "--step", type=int, help="checkpoint; none: the best, else the newest"
  )


def add_score_filters(parser: argparse.ArgumentParser) -> None:
  """--max_score, --margin and --relative_margin of hard negatives."""
  parser.add_argument(
    "--max_score", type=float, help="highest score of a negative"
  )
  parser.add_argument(
    "--margin",
    type=float,
    help="a negative's score is at most the positive's minus this; of several"
    " positives the lowest counts",
  )
  parser.add_argument(
    "--relative_margin",
    type=float,
    help="the same, as a share of the positive's score: 0.05 keeps negatives"
    " up to 95%% of it",
  )


def add_length(
  parser: argparse.ArgumentParser,
  tower: Literal["query", "passage"],
  none: str | None = None,
) -> None:
  """--query_length or --passage_length.

  Args:
    none: what no such flag stands for; None gives the flag GTR's default.
  """
  what = f"tokens of a {tower} that are read"
  parser.add_argument(
    f"--{tower}_length",
    type=int,
    default=None if none else getattr(lengths.GTR, tower),
    metavar="TOKENS",
    help=f"{what}; none: {none}" if none else what,
  )


def add_on_bad_line(parser: argparse.ArgumentParser, of: str) -> None:
  """--on_bad_line.

  Args:
    of: what has the lines: "the input".
  """
  parser.add_argument(
    "--on_bad_line",
    choices=("error", "skip"),
    default="error",
    help=f"stop at a bad line of {of}, or count it and leave it out",
  )
