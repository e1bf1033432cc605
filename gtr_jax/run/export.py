"""`gtr export`: a model in a format that other software reads, checked."""

import argparse
import importlib
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from gtr_jax.run import arguments, cli, native_noise

# Format: its module under gtr_jax.export.
FORMATS = {
  "savedmodel": "saved_model",
  "sentence-transformers": "sentence_transformers",
  "stablehlo": "stablehlo",
  "onnx": "onnx_model",
  "t5x": "t5x",
}
# Formats that cut queries and passages at one length.
_OF_ONE_LENGTH = ("sentence-transformers",)
_NUM_STEPS = 6


def add_arguments(parser: argparse.ArgumentParser) -> None:
  arguments.add_model(parser)
  parser.add_argument(
    "--format",
    required=True,
    choices=tuple(FORMATS),
    help="savedmodel: TensorFlow, takes raw strings; sentence-transformers: a"
    " folder for SentenceTransformer(path), of one length, the longer one;"
    " stablehlo: programs for JAX without our code; onnx: for onnxruntime; t5x:"
    " a checkpoint and a gin file for T5X Retrieval",
  )
  parser.add_argument(
    "--output", required=True, metavar="D", help="directory to make"
  )
  arguments.add_length(parser, "query")
  arguments.add_length(parser, "passage")
  parser.add_argument(
    "--dtype",
    choices=("float32", "bfloat16", "float16"),
    default="float32",
    help="of the weights; bfloat16 also computes in it. float16 is refused: T5"
    " overflows in it",
  )
  parser.add_argument(
    "--results",
    action="append",
    default=[],
    metavar="F",
    help="results.jsonl of `gtr evaluate`, beside that of the model directory:"
    " lines of this checkpoint go into the model card; repeatable",
  )
  parser.add_argument(
    "--overwrite",
    action="store_true",
    help="replace an earlier export at --output",
  )


def run(args: argparse.Namespace) -> Mapping[str, Any]:
  from gtr_jax.export import artifact, placement
  from gtr_jax.run import progress

  output = pathlib.Path(args.output)
  placement.require_free(output, args.overwrite)
  with progress.bar("exporting", _NUM_STEPS, "step") as advance:
    original = _original(args)
    advance(1)
    form = _format(args.format)
    comparison = artifact.make(
      original,
      form,
      output,
      args.overwrite,
      lambda step: advance(1),
    )
    advance(1)
  # By the library that it is for, where that is installed.
  checked = form.consumer() is not None
  ties = (
    f" (ties of equally likely readings: {comparison.num_ties})"
    if comparison.num_ties
    else ""
  )
  print(
    f"{output}: {args.format} of step {original.step:,};"
    f" {'checked' if checked else 'not checked by its consumer, compared'} on"
    f" {comparison.num_texts} texts: same token ids{ties}, embeddings differ by"
    f" {comparison.near.max_difference:.1e} at most, cosines"
    f" {comparison.near.min_cosine:.7f} at least, top-10 overlap"
    f" {comparison.near.top10_overlap:.1%}{_of_the_card(original.facts)}"
  )
  return {
    "path": str(output),
    "max_difference": comparison.near.max_difference,
    "checked": checked,
    "tolerance": comparison.near.tolerance.difference,
    "min_cosine": comparison.near.min_cosine,
    "top10_overlap": comparison.near.top10_overlap,
    "texts": comparison.num_texts,
    "ties": comparison.num_ties,
    "results": len(original.facts.results),
    "results_of_others": original.facts.num_others,
  }


def _of_the_card(facts: Any) -> str:
  """What became of the ledgers' lines."""
  if not facts.results and not facts.num_others:
    return ""
  return (
    f"; {len(facts.results)} results in the model card"
    f" ({facts.num_others} of other checkpoints left out)"
  )


def _original(args: argparse.Namespace):
  from gtr_jax.export.original import Original
  from gtr_jax.run import model_directory, model_facts

  loaded = model_directory.load(args.model, args.step)
  if loaded.tokenizer is None:
    raise ValueError(
      f"{args.model}: has no {model_directory.VOCABULARY}/, and an export reads"
      " text; import the model again with --vocabulary"
    )
  checkpoint = loaded.checkpoint_hash
  facts = model_facts.read(loaded.directory, checkpoint, args.results)
  return Original(
    loaded.model,
    loaded.params,
    loaded.tokenizer,
    *_lengths(args),
    checkpoint,
    loaded.step,
    args.dtype,
    facts,
  )


def _lengths(args: argparse.Namespace) -> tuple[int, int]:
  lengths = args.query_length, args.passage_length
  if args.format in _OF_ONE_LENGTH and min(lengths) > 0:
    return max(lengths), max(lengths)
  return lengths


def _format(name: str) -> Any:
  """The format's module; its libraries are imported here."""
  try:
    with native_noise.held_back():
      return importlib.import_module(f"gtr_jax.export.{FORMATS[name]}")
  except ModuleNotFoundError as error:
    raise ValueError(
      f"--format={name} needs {error.name}, which is not installed: pip install"
      " 'gtr_jax[export]'"
    ) from error


def main(argv: Sequence[str] | None = None) -> int:
  return cli.run_program(
    "export",
    "Writes a model in a format that other software reads, reads it back and"
    " compares token ids and embeddings with the model's; what differs is not"
    " kept.",
    add_arguments,
    run,
    argv,
  )


if __name__ == "__main__":
  sys.exit(main())
