"""`gtr mine`: pairs with hard negatives, found by a model, BM25 or both."""

import argparse
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gtr_jax.run import arguments, cli

if TYPE_CHECKING:
  from gtr_jax.data.pair import Pair
  from gtr_jax.evaluation.collection import Collection
  from gtr_jax.run.hard_negatives import Candidates


def add_arguments(parser: argparse.ArgumentParser) -> None:
  arguments.add_model(parser, required=False)
  parser.add_argument(
    "--bm25",
    action="store_true",
    help="search with BM25: in turn with the model, or alone without --model;"
    " the scores that the filters see are the model's where there is one",
  )
  parser.add_argument(
    "--data", required=True, metavar="DIR", help="BEIR folder"
  )
  parser.add_argument("--split", default="train", help="qrels/SPLIT.tsv")
  parser.add_argument(
    "--output",
    required=True,
    metavar="FILE",
    help="pairs, JSONL: a line a query with its positives and negatives",
  )
  parser.add_argument(
    "--num_negatives", type=int, default=1, help="at most so many a query"
  )
  parser.add_argument(
    "--skip_top",
    type=int,
    default=0,
    metavar="RANKS",
    help="passages at the top of a ranking that are no candidates",
  )
  parser.add_argument(
    "--depth",
    type=int,
    default=100,
    metavar="RANKS",
    help="the last rank that is a candidate",
  )
  arguments.add_score_filters(parser)
  parser.add_argument(
    "--seed",
    type=int,
    help="draw the negatives at random from those that pass; none: take the"
    " highest ranked",
  )
  arguments.add_length(parser, "query", none="as gtr evaluate")
  arguments.add_length(parser, "passage", none="as gtr evaluate")
  arguments.add_on_bad_line(parser, "the data")


def run(args: argparse.Namespace) -> Mapping[str, Any]:
  from gtr_jax.data import negative_rules
  from gtr_jax.evaluation import beir
  from gtr_jax.files import json_lines, whole
  from gtr_jax.run import hard_negatives

  _check(args)
  output = whole.prepare(args.output)
  collection = beir.read(args.data, args.split, args.on_bad_line)
  rules = negative_rules.Rules(
    args.num_negatives,
    args.max_score,
    args.margin,
    args.relative_margin,
    args.seed,
  )
  mined = hard_negatives.mine(collection, _candidates(args, collection), rules)
  json_lines.write(output, map(_record, mined.pairs))
  result = {
    "pairs": len(mined.pairs),
    "negatives": sum(len(pair.negatives) for pair in mined.pairs),
    "filtered": dict(sorted(mined.filtered.items())),
    "without_negatives": sum(not pair.negatives for pair in mined.pairs),
    "unusable_queries": mined.num_unusable,
  }
  print(
    "{output}: {pairs} pairs with {negatives} negatives,"
    " {without_negatives} pairs have none; left out: {reasons}".format(
      output=output, reasons=_counts(mined.filtered), **result
    )
  )
  return result


def _counts(filtered: Mapping[str, int]) -> str:
  counts = [f"{reason} {number}" for reason, number in sorted(filtered.items())]
  return ", ".join(counts) or "nothing"


def _record(pair: "Pair") -> dict[str, Any]:
  """A pair as `data.sources` reads it."""
  return dataclasses.asdict(pair)


def _check(args: argparse.Namespace) -> None:
  if not (args.model or args.bm25):
    raise ValueError("nothing to search with: give --model DIR, --bm25 or both")
  if args.num_negatives < 1:
    raise ValueError(f"--num_negatives is {args.num_negatives}: give 1 or more")
  if not 0 <= args.skip_top < args.depth:
    raise ValueError(
      f"--skip_top {args.skip_top} and --depth {args.depth} leave no rank:"
      " give 0 <= skip_top < depth"
    )
  if args.seed is not None and args.seed < 0:
    raise ValueError(f"--seed is {args.seed}: give 0 or more")


def _candidates(
  args: argparse.Namespace, collection: "Collection"
) -> "Candidates":
  """What the model, BM25 or both find; of both, the scores are the model's."""
  from gtr_jax.run import hard_negatives

  found = []
  if args.model:
    found.append(_by_model(args, collection))
  if args.bm25:
    found.append(_by_bm25(args, collection))
  if len(found) == 1:
    return found[0]
  by_model, by_bm25 = found
  searches = [*by_model.searches, *by_bm25.searches]
  return hard_negatives.Candidates(searches, by_model.score)


def _by_model(
  args: argparse.Namespace, collection: "Collection"
) -> "Candidates":
  from gtr_jax.evaluation import lengths
  from gtr_jax.retrieval import exact
  from gtr_jax.run import hard_negatives, model_directory, progress

  query, passage = lengths.choose(
    collection.name, args.query_length, args.passage_length
  )
  encoder = model_directory.encoder(args.model, args.step, query, passage)
  queries = list(collection.queries.values())
  texts = collection.passages
  with progress.bar("encode", len(queries) + len(texts)) as advance:
    query_vectors, _ = encoder.encode_texts(queries, "query", advance)
    vectors, _ = encoder.encode_texts(texts, "passage", advance)
  index = exact.ExactIndex(vectors, collection.ids, encoder.mesh)
  ranking = index.search(query_vectors, args.depth)
  return hard_negatives.Candidates(
    [ranking.positions[:, args.skip_top :]],
    lambda row, places: vectors[places] @ query_vectors[row],
  )


def _by_bm25(
  args: argparse.Namespace, collection: "Collection"
) -> "Candidates":
  from gtr_jax import bm25
  from gtr_jax.run import hard_negatives

  queries = list(collection.queries.values())
  index = bm25.build(collection.passages)
  positions, _ = index.search(queries, args.depth)
  return hard_negatives.Candidates(
    [positions[:, args.skip_top :]],
    lambda row, places: index.scores(queries[row])[places],
  )


def main(argv: Sequence[str] | None = None) -> int:
  return cli.run_program(
    "mine",
    "Finds hard negatives: passages that a model or BM25 ranks high for a"
    " query and that are not known to answer it.",
    add_arguments,
    run,
    argv,
  )


if __name__ == "__main__":
  sys.exit(main())
