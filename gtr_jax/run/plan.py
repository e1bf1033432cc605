"""`gtr plan`: what a training takes of a TPU slice, before it is rented."""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from gtr_jax.run import arguments, cli


def add_arguments(parser: argparse.ArgumentParser) -> None:
  arguments.add_gin(parser)
  where = parser.add_mutually_exclusive_group()
  where.add_argument(
    "--topology",
    metavar="SLICE",
    help="TPU slice: v4:2x2x2, v5e:4x4, v5p:2x2x4, v6e:4x8; none: the config's"
    " TOPOLOGY",
  )
  where.add_argument(
    "--gpu_memory",
    type=float,
    metavar="GIB",
    help="one GPU with this memory instead, by the CPU compiler's buffers",
  )
  where.add_argument(
    "--sweep",
    metavar="SLICES",
    help="a table over slices, with commas between, and over --remats",
  )
  parser.add_argument(
    "--remats",
    default="none,dots,full",
    metavar="NAMES",
    help="what --sweep tries as REMAT",
  )
  parser.add_argument(
    "--find",
    choices=("batch", "chunks"),
    help="batch: the largest BATCH_SIZE that fits, to a sixteenth; chunks: the"
    " smallest NUM_CHUNKS of the powers of two",
  )
  parser.add_argument(
    "--step",
    choices=("train", "encode", "both"),
    default="both",
    help="what is compiled; --find and --sweep take the train step",
  )
  _add_shapes(parser)


def _add_shapes(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    "--num_slices",
    type=int,
    metavar="N",
    help="so many slices, joined by the data centre's network; the same as"
    " --gin.NUM_SLICES=N",
  )
  parser.add_argument(
    "--num_positives",
    type=int,
    default=1,
    metavar="P",
    help="known positives of a query at most",
  )
  for tower, mean in (("query", 8.0), ("passage", 80.0)):
    parser.add_argument(
      f"--mean_{tower}_tokens",
      type=float,
      default=mean,
      metavar="TOKENS",
      help=f"of a {tower}; decides the rows of packed training",
    )
  parser.add_argument(
    "--encode_tokens",
    type=int,
    default=8192,
    metavar="TOKENS",
    help="tokens of a batch on each device when encoding",
  )


def run(args: argparse.Namespace) -> Mapping[str, Any]:
  if not args.gin_file:
    raise ValueError(
      "--gin_file is missing, such as"
      " --gin_file=experiments/gtr_base_pretrain.gin"
    )
  # It compiles for chips that are elsewhere, whatever this machine has.
  os.environ["JAX_PLATFORMS"] = "cpu"
  if args.sweep:
    return _sweep(args)
  return _find(args) if args.find else _plan(args)


def _plan(args: argparse.Namespace) -> dict[str, Any]:
  from gtr_jax.planning import report
  from gtr_jax.run import planned_config

  config = planned_config.read(args)
  result = config.facts()
  if args.step != "encode":
    _announce("train")
    found = config.train_step()
    print(report.as_text("train step", found))
    advice = config.advice(found)
    for change in advice:
      print(f"  to fit: {change}")
    result |= report.as_json(found) | {"advice": advice}
  if args.step != "train":
    _announce("encode")
    found = config.encode_step()
    print(report.as_text("encode step", found))
    values = report.as_json(found)
    result |= values if args.step == "encode" else {"encode": values}
  print(*(f"- {line}" for line in config.assumptions()), sep="\n")
  return result | {"assumptions": config.assumptions()}


def _announce(step: str) -> None:
  """The compiler tells nothing of how far it is."""
  if sys.stderr.isatty():
    print(f"compiling the {step} step: minutes", file=sys.stderr, flush=True)


def _find(args: argparse.Namespace) -> dict[str, Any]:
  """The plan that was found; where nothing fits, the last that was tried."""
  from gtr_jax.planning import find
  from gtr_jax.run import planned_config

  first = planned_config.read(args)
  macro, key = {
    "batch": ("BATCH_SIZE", "largest_batch"),
    "chunks": ("NUM_CHUNKS", "smallest_chunks"),
  }[args.find]
  tries: dict[int, dict[str, Any]] = {}

  def fits(number: int) -> bool:
    tries[number] = _try(args, macro, number)
    return tries[number]["fits"]

  if args.find == "batch":
    best = find.largest(fits, first.settings.batch_size, first.batch_unit())
  else:
    counts = find.chunk_counts(first.texts_of_a_device())
    best = find.smallest(fits, counts, first.num_chunks() or 1)
  answer = tries[list(tries)[-1] if best is None else best]
  print(
    f"no {macro} fits"
    if best is None
    else f"{macro}={best} fits: {answer['hbm_gib']} of"
    f" {answer['hbm_limit_gib']} GiB"
  )
  return {**answer, key: best, "tries": list(tries.values())}


def _sweep(args: argparse.Namespace) -> dict[str, Any]:
  """A plan a slice and remat policy; the best is the result's own."""
  from gtr_jax.planning import report

  rows = []
  for topology in filter(None, args.sweep.split(",")):
    for remat in filter(None, args.remats.split(",")):
      one = argparse.Namespace(**vars(args))
      one.topology, one.gin_bindings = topology, list(args.gin_bindings)
      if args.find:
        one.gin_bindings.append(f"REMAT={remat!r}")
        rows.append(_find(one))
      else:
        rows.append(_try(one, "REMAT", remat))
  if not rows:
    raise ValueError("--sweep or --remats is empty: name slices and policies")
  print(report.sweep_table(rows))
  best = min(rows, key=lambda row: (not row["fits"], row["hbm_gib"]))
  return {**best, "sweep": rows}


def _try(
  args: argparse.Namespace, macro: str, value: int | str
) -> dict[str, Any]:
  """The train step with a macro set, told in a line."""
  from gtr_jax.planning import report
  from gtr_jax.run import planned_config

  config = planned_config.read(args, [f"{macro}={value!r}"])
  result = config.facts() | report.as_json(config.train_step())
  print(
    f"{result['topology'] or 'one GPU'} {macro}={value}: {result['hbm_gib']} of"
    f" {result['hbm_limit_gib']} GiB,"
    f" {'fits' if result['fits'] else 'does not fit'}"
    f" ({result['compile_seconds']} s)",
    file=sys.stderr,
    flush=True,
  )
  return result


def main(argv: Sequence[str] | None = None) -> int:
  argv = sys.argv[1:] if argv is None else argv
  return cli.run_program(
    "plan",
    "Compiles the train step and the encode step of a config for a TPU slice"
    " that is not here: memory, interconnect, time.  Opens no data.",
    add_arguments,
    run,
    cli.split_gin_bindings(argv),
  )


if __name__ == "__main__":
  sys.exit(main())
