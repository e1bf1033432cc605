"""`gtr pairs`: labelled data of many forms → pairs with negatives."""

import argparse
import pathlib
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gtr_jax.run import arguments, cli

if TYPE_CHECKING:
  from gtr_jax.labelled.ledger import Ledger
  from gtr_jax.labelled.question import LabelledPair
  from gtr_jax.labelled.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
  from gtr_jax.labelled import formats

  parser.add_argument(
    "--format", required=True, choices=formats.FORMATS, help="of the input"
  )
  parser.add_argument(
    "--input",
    required=True,
    nargs="+",
    metavar="PATH",
    help="folders and files, or the name of a data set",
  )
  parser.add_argument(
    "--output",
    required=True,
    metavar="PATH",
    help="pairs: a .jsonl or .jsonl.gz file, or a folder of shards",
  )
  parser.add_argument(
    "--shards", type=int, default=8, help="files of an output folder"
  )
  parser.add_argument("--split", default="train", help="which queries")
  parser.add_argument(
    "--titles",
    choices=("join", "drop", "require"),
    default="join",
    help="of passages: put before the text, as in evaluation; left out; or"
    " joined, and no passage is taken without one",
  )
  parser.add_argument(
    "--fraction",
    type=float,
    default=1.0,
    help="share of the queries, by a hash of their ids: those of 0.01 are among"
    " those of 0.1",
  )
  parser.add_argument(
    "--seed", type=int, default=0, help="of the fraction and of the sample"
  )
  parser.add_argument(
    "--num_negatives", type=int, default=8, help="at most so many a query"
  )
  parser.add_argument(
    "--sample_negatives",
    action="store_true",
    help="draw the negatives at random from those that pass; otherwise the"
    " first are taken",
  )
  arguments.add_score_filters(parser)
  parser.add_argument(
    "--systems",
    default="",
    metavar="NAMES",
    help="comma-separated searches whose hard negatives are taken; none: all",
  )
  parser.add_argument(
    "--fields",
    default="",
    metavar="NAMES",
    help="of tfds, which feature is what:"
    " query=question,positive=answer,query_id=id; also positive_id, negative,"
    " title, score",
  )
  parser.add_argument(
    "--cache",
    metavar="DIR",
    help="folder of the text stores, which are made once; none:"
    " ~/.cache/gtr_jax",
  )
  arguments.add_on_bad_line(parser, "the input")


def run(args: argparse.Namespace) -> Mapping[str, Any]:
  from gtr_jax.files import json_shards, whole
  from gtr_jax.labelled import formats, ledger
  from gtr_jax.run import progress

  settings = _settings(args)
  is_file = args.output.endswith((".jsonl", ".jsonl.gz"))
  output = pathlib.Path(args.output)
  if is_file:
    whole.prepare(output)
  else:
    json_shards.require_free(output)
  book = ledger.Ledger(args.on_bad_line)
  statistics = lambda: _statistics(args, settings, book)
  started = time.monotonic()
  pairs = formats.read(args.format, args.input, settings, book)
  records = map(_record, _at_least_one(pairs, args.format))
  with progress.bar("read", None, "line") as book.progress:
    if is_file:
      json_shards.write_one(output, records)
      json_shards.write_statistics(_beside(output), statistics())
    else:
      json_shards.write(output, "pairs", args.shards, records, statistics)
  seconds = time.monotonic() - started
  result = {"output": str(output), **statistics()}
  print(
    "{output}: {pairs} pairs with {positives} positives and {negatives}"
    " negatives, {without_negatives} have no negative; {titled} passages with"
    " a title, {untitled} without".format(
      titled=result["titles"]["with_title"],
      untitled=result["titles"]["without_title"],
      **result,
    )
  )
  rate = round(result["pairs"] / max(seconds, 1e-9), 1)
  return {**result, "pairs_per_second": rate}


def _settings(args: argparse.Namespace) -> "Settings":
  from gtr_jax.data import negative_rules
  from gtr_jax.labelled import settings

  _check(args)
  cache = pathlib.Path(args.cache or settings.default_cache())
  rules = negative_rules.Rules(
    args.num_negatives,
    args.max_score,
    args.margin,
    args.relative_margin,
    args.seed if args.sample_negatives else None,
  )
  return settings.Settings(
    cache=cache.expanduser(),
    split=args.split,
    titles=args.titles,
    rules=rules,
    fraction=args.fraction,
    seed=args.seed,
    systems=tuple(filter(None, args.systems.split(","))),
    fields=_fields(args.fields),
  )


def _fields(names: str) -> dict[str, str]:
  found = {}
  for part in filter(None, names.split(",")):
    what, is_told, feature = part.partition("=")
    if not (what and is_told and feature):
      raise ValueError(
        f"--fields holds {part!r}: give NAME=FEATURE with commas between"
      )
    found[what] = feature
  return found


def _check(args: argparse.Namespace) -> None:
  if not 0 < args.fraction <= 1:
    raise ValueError(
      f"--fraction is {args.fraction}: give a share of the queries above 0, at"
      " most 1"
    )
  if args.num_negatives < 0:
    raise ValueError(f"--num_negatives is {args.num_negatives}: give 0 or more")
  if not 1 <= args.shards <= 10_000:
    raise ValueError(f"--shards is {args.shards}: give 1 to 10000")
  if args.seed < 0:
    raise ValueError(f"--seed is {args.seed}: give 0 or more")
  for path in map(pathlib.Path, args.input):
    output = pathlib.Path(args.output).resolve()
    if path.exists() and output in (path.resolve(), *path.resolve().parents):
      raise ValueError(f"{path}: is input and output: choose another --output")


def _at_least_one(
  pairs: "Iterator[LabelledPair]", format: str
) -> "Iterator[LabelledPair]":
  first = next(pairs, None)
  if first is None:
    raise ValueError(
      f"no pair came out of the input as --format={format}: look at what was"
      " left out, at --split and at --fraction"
    )
  yield first
  yield from pairs


def _record(labelled: "LabelledPair") -> dict[str, Any]:
  """A line that `data.sources` reads; what is None is left out."""
  pair = labelled.pair
  record = {
    "query": pair.query,
    "positives": pair.positives,
    "negatives": pair.negatives,
    "query_id": pair.query_id,
    "positive_ids": pair.positive_ids,
    "negative_ids": pair.negative_ids,
    "positive_scores": labelled.positive_scores,
    "negative_scores": labelled.negative_scores,
  }
  return {name: value for name, value in record.items() if value is not None}


def _statistics(
  args: argparse.Namespace, settings: "Settings", book: "Ledger"
) -> dict[str, Any]:
  names = ("pairs", "positives", "negatives", "without_negatives")
  others = set(book.counts) - {*names, "scored"}
  return {
    "format": args.format,
    "input": args.input,
    "split": settings.split,
    **{name: book.counts[name] for name in names},
    **{name: book.counts[name] for name in sorted(others)},
    "titles": {
      "policy": settings.titles,
      "with_title": book.with_title.total(),
      "without_title": book.without_title.total(),
      "files": {
        file: {
          "with_title": book.with_title[file],
          "without_title": book.without_title[file],
        }
        for file in sorted({*book.with_title, *book.without_title})
      },
    },
    "fraction": settings.fraction,
    "seed": settings.seed,
    "num_negatives": settings.rules.num_negatives,
    "filtered": dict(sorted(book.filtered.items())),
    "left_out": {
      reason: number
      for reason, number in sorted(book.left_out.items())
      if number
    },
  }


def _beside(output: pathlib.Path) -> pathlib.Path:
  stem = output.name.removesuffix(".gz").removesuffix(".jsonl")
  return output.with_name(f"{stem}.statistics.json")


def main(argv: Sequence[str] | None = None) -> int:
  return cli.run_program(
    "pairs",
    "Reads labelled data (MS MARCO, RocketQA ...) and writes pairs with"
    " negatives for gtr train.",
    add_arguments,
    run,
    argv,
  )


if __name__ == "__main__":
  sys.exit(main())
