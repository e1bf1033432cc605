"""`gtr evaluate`: measures of a model, a run or BM25 on BEIR folders."""

import argparse
import dataclasses
import pathlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gtr_jax.run import arguments, cli

if TYPE_CHECKING:
  from gtr_jax.evaluation.collection import Collection
  from gtr_jax.evaluation.evaluate import Results

# A collection to its results, and to what made them.
Evaluate = Callable[["Collection"], tuple["Results", dict[str, Any]]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
  source = parser.add_mutually_exclusive_group(required=True)
  source.add_argument("--model", metavar="DIR", help="model directory")
  source.add_argument(
    "--run",
    metavar="FILE",
    help="TREC run, ranked by score, then by the rank column; for a folder of"
    " BEIR folders a folder with NAME.trec for each",
  )
  source.add_argument(
    "--bm25", action="store_true", help="evaluate the BM25 baseline"
  )
  parser.add_argument(
    "--data",
    required=True,
    metavar="DIR",
    help="BEIR folder, or a folder of them (CQADupStack): their mean is given",
  )
  parser.add_argument("--split", default="test", help="qrels/SPLIT.tsv")
  arguments.add_step(parser)
  arguments.add_length(parser, "query", none="64, for arguana 512")
  arguments.add_length(
    parser, "passage", none="512, for trec-news and robust04 768"
  )
  parser.add_argument(
    "--length_exception",
    action="append",
    default=[],
    metavar="NAME=QUERY:PASSAGE",
    help="other lengths for the BEIR folder NAME; repeatable",
  )
  parser.add_argument(
    "--depth", type=int, default=100, help="passages kept a query"
  )
  parser.add_argument(
    "--missing_queries",
    choices=("zero", "skip"),
    default="zero",
    help="a query that the run lacks counts 0, or not at all (as in BEIR)",
  )
  arguments.add_on_bad_line(parser, "the data")
  parser.add_argument(
    "--output", metavar="FILE", help="results.jsonl: a line a measure"
  )
  parser.add_argument(
    "--record",
    action="store_true",
    help="also keep the lines in results.jsonl of the model directory, from"
    " which `gtr export` writes them into the model card",
  )
  parser.add_argument(
    "--per_query", metavar="FILE", help="JSONL: the measures of each query"
  )
  parser.add_argument(
    "--save_run",
    metavar="FILE",
    help="TREC run; for a folder of BEIR folders, a folder of NAME.trec",
  )


def run(args: argparse.Namespace) -> Mapping[str, Any]:
  from gtr_jax.evaluation import beir, ledger, measures, report
  from gtr_jax.files import json_lines
  from gtr_jax.retrieval import ranking

  folders = beir.find(args.data)
  several = len(folders) > 1
  if args.depth < measures.DEPTH:
    raise ValueError(
      f"--depth is {args.depth}: recall@100 needs {measures.DEPTH} or more"
    )
  _prepare_outputs(args, several)
  evaluate = _source(args, several)
  summaries, means, records, per_query = {}, {}, [], []
  for folder in folders:
    collection = beir.read(folder, args.split, args.on_bad_line)
    if args.save_run:
      _refuse_white_space([*collection.ids, *collection.queries])
    results, made_by = evaluate(collection)
    name = collection.name
    summaries[name], means[name] = report.summary(results), results.means
    records += report.records(results, made_by)
    per_query += report.query_records(results)
    if args.save_run:
      path = _run_path(args.save_run, name, several)
      ranking.write_run(path, results.ranking)
  for path, lines in ((args.output, records), (args.per_query, per_query)):
    if path:
      json_lines.write(pathlib.Path(path), lines)
  if args.record:
    ledger.add(pathlib.Path(args.model, ledger.FILE), records)
  if several:
    result = report.macro_average(summaries)
    means["mean"] = {name: result[name] for name in measures.NAMES}
  else:
    (result,) = summaries.values()
  print(report.table(means))
  return result


def _source(args: argparse.Namespace, several: bool) -> Evaluate:
  """What is evaluated, loaded: a model, a run or BM25."""
  if args.model:
    return _of_model(args)
  return _of_bm25(args) if args.bm25 else _of_run(args, several)


def _of_model(args: argparse.Namespace) -> Evaluate:
  from gtr_jax.evaluation import evaluate, lengths
  from gtr_jax.run import model_directory, progress

  exceptions = dict(map(lengths.parse_exception, args.length_exception))
  encoder = model_directory.encoder(args.model, args.step)

  def results(collection: "Collection"):
    query, passage = lengths.choose(
      collection.name, args.query_length, args.passage_length, exceptions
    )
    # The same towers, so that what is compiled serves every collection.
    read = dataclasses.replace(
      encoder, query_length=query, passage_length=passage
    )
    total = len(collection.queries) + len(collection.ids)
    with progress.bar(collection.name, total) as advance:
      measured = evaluate.evaluate(read, collection, args.depth, advance)
    made_by = {
      "model": args.model,
      "step": encoder.step,
      "checkpoint": encoder.checkpoint_hash,
    }
    return measured, made_by

  return results


def _of_bm25(args: argparse.Namespace) -> Evaluate:
  from gtr_jax.evaluation import bm25, evaluate

  def results(collection: "Collection"):
    measured = evaluate.measure(
      bm25.rank(collection, args.depth + 1),
      collection,
      args.depth,
      policy={"ties": evaluate.CORPUS_ORDER, "bm25": bm25.SETTINGS},
    )
    return measured, {"model": "bm25"}

  return results


def _of_run(args: argparse.Namespace, several: bool) -> Evaluate:
  from gtr_jax.evaluation import evaluate
  from gtr_jax.retrieval import ranking

  def results(collection: "Collection"):
    path = _run_path(args.run, collection.name, several)
    measured = evaluate.measure(
      ranking.read_run(path),
      collection,
      args.depth,
      args.missing_queries,
      policy={"ties": evaluate.RUN_ORDER},
    )
    return measured, {"run": str(path)}

  return results


def _run_path(path: str, name: str, several: bool) -> pathlib.Path:
  return pathlib.Path(path, f"{name}.trec") if several else pathlib.Path(path)


def _refuse_white_space(ids: Sequence[str]) -> None:
  """Says so before the work, not when the run is written."""
  for name in ids:
    if len(name.split()) != 1 or name != name.strip():
      raise ValueError(
        f"the id {name!r} has white space in it, which a TREC run cannot hold:"
        " rename it, or leave out --save_run"
      )


def _prepare_outputs(args: argparse.Namespace, several: bool) -> None:
  """Makes the folders of the outputs, so that a mistake shows before work."""
  from gtr_jax.evaluation import ledger
  from gtr_jax.files import whole

  if args.record:
    if not args.model:
      raise ValueError(
        "--record keeps results of a --model in its directory: use --output"
      )
    path = pathlib.Path(args.model, ledger.FILE)
    if path.exists():
      ledger.of_checkpoint([path], "")  # Whether it can be read.
  if args.save_run and several:
    pathlib.Path(args.save_run).mkdir(parents=True, exist_ok=True)
  elif args.save_run:
    whole.prepare(args.save_run)
  for path in (args.output, args.per_query):
    if path:
      whole.prepare(path)


def main(argv: Sequence[str] | None = None) -> int:
  return cli.run_program(
    "evaluate",
    "Measures a model, a TREC run or BM25 on a BEIR folder: nDCG@10,"
    " Recall@100, capped Recall@100, MRR@10 and MAP@100.",
    add_arguments,
    run,
    argv,
  )


if __name__ == "__main__":
  sys.exit(main())
