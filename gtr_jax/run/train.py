"""`gtr train`: one stage of training by gin files, macros and overrides."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from gtr_jax.run import arguments, cli


def add_arguments(parser: argparse.ArgumentParser) -> None:
  arguments.add_gin(parser)
  parser.add_argument(
    "--on_bad_line",
    choices=("error", "skip"),
    help="a bad line of the data stops the run, or is counted and left out;"
    " the same as --gin.ON_BAD_LINE",
  )
  _add_process_arguments(parser)


def _add_process_arguments(parser: argparse.ArgumentParser) -> None:
  group = parser.add_argument_group(
    "several processes",
    "The same command on every host; a TPU slice of several hosts needs none of"
    " these flags.",
  )
  group.add_argument(
    "--coordinator_address",
    metavar="HOST:PORT",
    help="where process 0 listens for the others",
  )
  group.add_argument(
    "--process_count",
    type=int,
    metavar="N",
    help="how many processes there are",
  )
  group.add_argument(
    "--process_index", type=int, metavar="I", help="which one this is, from 0"
  )
  group.add_argument(
    "--multiprocess",
    choices=("auto", "always", "never"),
    default="auto",
    help="whether to ask the environment (a TPU slice, Slurm, Open MPI) for the"
    " other processes; auto asks where there are signs of any",
  )
  group.add_argument(
    "--silence_seconds",
    type=int,
    default=30,
    metavar="S",
    help="a process without a sign of life for so long counts as lost, and all"
    " others end",
  )


def run(args: argparse.Namespace) -> Mapping[str, Any]:
  if not args.gin_file:
    raise ValueError(
      "--gin_file is missing, such as --gin_file=experiments/demo_stage1.gin"
    )
  import jax

  from gtr_jax.run import distributed, gin_config, gin_types, trainer

  bindings = list(args.gin_bindings)
  if args.on_bad_line:
    bindings.append(f"ON_BAD_LINE={args.on_bad_line!r}")
  gin_config.parse(args.gin_file, bindings, args.gin_search_paths.split(","))
  gin_types.check()
  with distributed.joined(args):
    result = gin_config.call(trainer.train)
  if jax.process_index() > 0:
    args.json = False
    return result
  print(
    f"{result['model']}: step {result['step']:,}"
    + ("" if result["loss"] is None else f", loss {result['loss']:.4f}")
  )
  return result


def main(argv: Sequence[str] | None = None) -> int:
  argv = sys.argv[1:] if argv is None else argv
  status = cli.run_program(
    "train",
    "Trains one stage; goes on by itself if MODEL_DIR holds checkpoints."
    " T5X's gin flags: --gin_file, --gin.NAME=VALUE, --gin_search_paths.",
    add_arguments,
    run,
    cli.split_gin_bindings(argv),
  )
  if status:
    from gtr_jax.run import distributed

    distributed.end(status)
  return status


if __name__ == "__main__":
  sys.exit(main())
