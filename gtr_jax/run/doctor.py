"""`gtr doctor`: looks at training data before it costs money."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gtr_jax.run import arguments, cli

if TYPE_CHECKING:
  from gtr_jax.doctor import overlap
  from gtr_jax.run import doctor_data

FAILED = 3  # The exit status of a check that --fail_on asks for.


def add_arguments(parser: argparse.ArgumentParser) -> None:
  source = parser.add_mutually_exclusive_group()
  source.add_argument(
    "--task", metavar="NAME", help="anything that MIXTURE_OR_TASK_NAME takes"
  )
  source.add_argument(
    "--data",
    metavar="FILES",
    help="JSONL of pairs, plain or gzip: paths or patterns with commas between",
  )
  arguments.add_gin(parser)
  for flag, what, macro, default in (
    ("query_length", "tokens of a query", "TASK_FEATURE_LENGTHS", "64"),
    ("passage_length", "tokens of a passage", "TASK_FEATURE_LENGTHS", "256"),
    ("batch_size", "pairs of a batch", "BATCH_SIZE", "2048"),
    ("train_steps", "of the epochs of a mixture", "TRAIN_STEPS", "unknown"),
    ("vocab_size", "of a vocabulary to train", "NUM_EMBEDDINGS", "32128"),
  ):
    parser.add_argument(
      f"--{flag}",
      type=int,
      metavar="N",
      help=f"{what}; none: the config's {macro}, without a config {default}",
    )
  parser.add_argument(
    "--vocabulary",
    metavar="FILE",
    help="SentencePiece model file, or a model directory; none: the config's or"
    " the task's, else one is trained on the data, as training does",
  )
  parser.add_argument(
    "--eval",
    action="append",
    default=[],
    metavar="DIR",
    help="BEIR folder that the data should not overlap with; repeatable",
  )
  parser.add_argument(
    "--eval_split", default="test", help="whose queries: qrels/SPLIT.tsv"
  )
  parser.add_argument("--report", metavar="FILE", help="writes an HTML page")
  parser.add_argument(
    "--sample", type=int, default=10, metavar="N", help="pairs to read in it"
  )
  parser.add_argument("--seed", type=int, default=0, help="of the sample")
  parser.add_argument(
    "--near_duplicates",
    type=int,
    default=2_000_000,
    metavar="N",
    help="the first so many texts of a tower are compared; 0.8 KB of memory"
    " each, 0 compares none",
  )
  parser.add_argument(
    "--fail_on",
    metavar="RULES",
    help="exit status 3 where these findings are above a bound, such as"
    " overlap,empty,duplicates>0.01: a bound below 1 is a share",
  )
  arguments.add_on_bad_line(parser, "the data")
  # Looking stops at nothing; what training stops at is a finding.
  parser.set_defaults(on_bad_line="skip")


def run(args: argparse.Namespace) -> Mapping[str, Any]:
  import pathlib

  from gtr_jax.doctor import examination, finding, findings, gate, page, report
  from gtr_jax.files import whole
  from gtr_jax.run import doctor_data, progress

  _check(args)
  rules = gate.parse(args.fail_on) if args.fail_on is not None else []
  looked_for = findings.looked_for(bool(args.eval), args.near_duplicates > 0)
  gate.check(rules, looked_for)
  output = args.report and whole.prepare(args.report)
  evaluations = _evaluations(args)
  data = doctor_data.of(args)
  with progress.bar("look", None, "pair") as advance:
    examined = examination.examine(
      data.pairs(),
      data.tokenizer,
      examination.Settings(
        data.lengths, data.config.batch_size, args.seed, args.near_duplicates
      ),
      evaluations,
      advance,
    )
  found = findings.find(examined, data.bad_lines())
  shown = report.numbers_to_show(examined, found, args.sample)
  result = report.Report(
    data.source,
    _facts(args, data, evaluations),
    examined,
    found,
    report.look_up(data.pairs_again(), shown),
    args.sample,
    [name for name in finding.NAMES if name not in looked_for],
    data.shares(),
  )
  if output:
    page.write(pathlib.Path(output), result)
  print(report.table(result))
  broken = [str(rule) for rule in rules if rule.broken_by(found)]
  return {**report.as_json(result), "report": args.report, "failed": broken}


def _check(args: argparse.Namespace) -> None:
  if not (args.task or args.data or args.gin_file):
    raise ValueError(
      "nothing to look at: give --data FILES, --task NAME or --gin_file FILE"
    )
  for flag, least in (
    ("query_length", 2),
    ("passage_length", 2),
    ("batch_size", 1),
    ("vocab_size", 300),
    ("train_steps", 1),
    ("sample", 0),
    ("near_duplicates", 0),
    ("seed", 0),
  ):
    value = getattr(args, flag)
    if value is not None and value < least:
      raise ValueError(f"--{flag} is {value}: give {least} or more")


def _evaluations(
  args: argparse.Namespace,
) -> list["overlap.EvaluationTexts"]:
  """Queries and corpus of every collection; the queries are read now."""
  from gtr_jax.doctor import overlap
  from gtr_jax.evaluation import beir

  found = []
  for folder in (path for name in args.eval for path in beir.find(name)):
    queries = beir.judged_queries(folder, args.eval_split, args.on_bad_line)
    name = folder.resolve().name
    found += [
      overlap.EvaluationTexts(name, "queries", lambda q=queries: q.items()),
      overlap.EvaluationTexts(
        name,
        "corpus",
        lambda f=folder: beir.passages(f, args.on_bad_line, lambda note: None),
      ),
    ]
  return found


def _facts(
  args: argparse.Namespace,
  data: "doctor_data.Data",
  evaluations: Sequence["overlap.EvaluationTexts"],
) -> dict[str, str]:
  import gtr_jax

  names = dict.fromkeys(texts.collection for texts in evaluations)
  return {
    "tokens read": f"{data.lengths['query']} of a query,"
    f" {data.lengths['passage']} of a passage",
    "vocabulary": f"{data.tokenizer.vocab_size:,} pieces, {data.vocabulary}",
    "batch": f"{data.config.batch_size:,} pairs",
    "compared with": f"{', '.join(names)} ({args.eval_split})"
    if names
    else "no evaluation data: give --eval",
    "gtr_jax": gtr_jax.__version__,
  }


def main(argv: Sequence[str] | None = None) -> int:
  failed: list[str] = []

  def remember(args: argparse.Namespace) -> Mapping[str, Any]:
    result = run(args)
    failed.extend(result["failed"])
    return result

  status = cli.run_program(
    "doctor",
    "Looks at training data before it costs money: lengths, repetition, false"
    " negatives, encoding, overlap with evaluation data.  Exit status 3 where"
    " --fail_on says so.",
    add_arguments,
    remember,
    cli.split_gin_bindings(sys.argv[1:] if argv is None else argv),
  )
  if status == 0 and failed:
    print(f"gtr doctor: --fail_on: {', '.join(failed)}", file=sys.stderr)
    return FAILED
  return status


if __name__ == "__main__":
  sys.exit(main())
