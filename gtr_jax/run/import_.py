"""`gtr import`: another library's weights become a model directory."""

import argparse
import contextlib
import pathlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gtr_jax.run import cli

if TYPE_CHECKING:  # Heavy: `gtr import --help` shall not wait for them.
  from gtr_jax.checkpoints import huggingface
  from gtr_jax.run import import_plan

# Bytes in float32; an import never holds its model, a comparison does.
_MOST_COMPARED = 2 * 2**30


def add_arguments(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    "--format",
    required=True,
    choices=("t5x", "huggingface", "sentence-transformers"),
    help="who wrote the weights",
  )
  parser.add_argument(
    "--checkpoint",
    required=True,
    metavar="P",
    help="the checkpoint's directory; of T5X also the one that holds"
    " checkpoint_N, of which the newest is taken, local or gs://bucket/path; of"
    " the others also a name on the Hub (org/name), if huggingface_hub is"
    " installed",
  )
  parser.add_argument(
    "--output", required=True, metavar="M", help="model directory to make"
  )
  parser.add_argument(
    "--vocabulary",
    metavar="PATH",
    help="SentencePiece model, copied into the model directory; without one"
    " it is the checkpoint's own, and where that has none the model takes"
    " token ids but no texts",
  )
  parser.add_argument(
    "--relative_attention_max_distance",
    type=int,
    metavar="N",
    help="distance from which on all relative positions are one; no array"
    " tells it, Hugging Face's config does (without either: 128)",
  )
  parser.add_argument(
    "--activation_dtype",
    choices=("float32", "bfloat16"),
    default="float32",
    help="dtype of the activations",
  )
  parser.add_argument(
    "--initialize_missing",
    action="store_true",
    help="draw at random what the checkpoint lacks, such as the projection in"
    " a plain T5 checkpoint; the model must be trained then",
  )
  parser.add_argument(
    "--allow_unused",
    action="store_true",
    help="leave out arrays that the model has no place for; a decoder always"
    " is",
  )
  check = parser.add_mutually_exclusive_group()
  check.add_argument(
    "--checked",
    action="store_true",
    help="compare with transformers or sentence-transformers, where they are"
    f" installed, a model of more than {_MOST_COMPARED // 2**30} GiB, too; its"
    " parameters are then in memory twice",
  )
  check.add_argument(
    "--unchecked", action="store_true", help="compare no model with them"
  )
  parser.add_argument(
    "--seed", type=int, default=0, help="of --initialize_missing"
  )


def run(args: argparse.Namespace) -> Mapping[str, Any]:
  from gtr_jax.export import placement
  from gtr_jax.run import import_comparison, import_plan, import_source

  output = pathlib.Path(args.output)
  _require_free(output)
  checkpoint = import_source.open_checkpoint(
    args.format,
    args.checkpoint,
    args.relative_attention_max_distance,
    lambda line: print(line, file=sys.stderr),
  )
  tokenizer = _tokenizer(args.vocabulary, checkpoint)
  with _named(
    args.checkpoint, import_source.hint(args.format, args.checkpoint)
  ):
    plan = import_plan.make(
      checkpoint,
      tokenizer,
      args.relative_attention_max_distance,
      args.activation_dtype,
      args.initialize_missing,
      args.allow_unused,
      args.seed,
    )
  # Nothing that looks like a model directory is there before it is whole.
  with placement.new_directory(output) as directory, _named(args.checkpoint):
    _write(directory, plan, tokenizer, checkpoint.step)
    comparison, not_compared = None, _why_not_compared(args, plan)
    if not not_compared:
      comparison = import_comparison.compare(
        args.format, args.checkpoint, directory, checkpoint.max_length
      )
  result = {
    "model": str(output),
    "parameters": plan.num_parameters,
    "unused": list(plan.unused),
    "missing": list(plan.missing),
    "checked": comparison is not None,
  }
  print(_summary(result, checkpoint.step))
  print(not_compared or import_comparison.summary(args.format, comparison))
  if tokenizer is None:
    print("no vocabulary: the model takes token ids; --vocabulary gives one")
  return result


def _require_free(output: pathlib.Path) -> None:
  from gtr_jax.checkpoints import manager

  if manager.available_steps(output):
    raise ValueError(
      f"{output}: holds checkpoints already; choose another --output"
    )
  if output.exists() and (not output.is_dir() or any(output.iterdir())):
    raise ValueError(f"{output}: is not empty; choose another --output")


def _why_not_compared(
  args: argparse.Namespace, plan: "import_plan.Plan"
) -> str | None:
  """Why the libraries are not asked; None if they shall be."""
  if args.unchecked:
    return "not compared: --unchecked"
  if args.checked or 4 * plan.num_parameters <= _MOST_COMPARED:
    return None
  return (
    f"not compared: {4 * plan.num_parameters / 2**30:.1f} GiB of parameters"
    " would be in memory twice; --checked compares them all the same"
  )


def _write(
  directory: pathlib.Path, plan: "import_plan.Plan", tokenizer: Any, step: int
) -> None:
  from gtr_jax.checkpoints import streaming
  from gtr_jax.data import vocabulary
  from gtr_jax.run import model_directory

  streaming.save(directory, step, plan.arrays)
  if tokenizer is not None:
    vocabulary.save(tokenizer, directory / model_directory.VOCABULARY)
  model_directory.write_config(directory, plan.config)


@contextlib.contextmanager
def _named(checkpoint: str, hint: str = "") -> Iterator[None]:
  """Puts the checkpoint's name before a user's mistake, a hint behind it."""
  try:
    yield
  except ValueError as error:
    text = str(error)
    place = "" if text.startswith(checkpoint) else f"{checkpoint}: "
    raise ValueError(f"{place}{text}{hint}") from error


def _tokenizer(path: str | None, checkpoint: "huggingface.Checkpoint") -> Any:
  from gtr_jax.run import other_libraries

  found = path or checkpoint.vocabulary
  if not found:
    return None
  return other_libraries.tokenizer(
    found, checkpoint.query_prompt, checkpoint.passage_prompt
  )


def _summary(result: Mapping[str, Any], step: int) -> str:
  from gtr_jax.run import import_plan

  lines = [
    f"{result['model']}: step {step:,}, {result['parameters']:,} parameters"
  ]
  if result["unused"]:
    lines.append(f"not used: {import_plan.some(result['unused'])}")
  if result["missing"]:
    lines.append(f"drawn at random: {import_plan.some(result['missing'])}")
  return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
  return cli.run_program(
    "import",
    "Makes a model directory of another library's weights; the sizes are read"
    " from the arrays.",
    add_arguments,
    run,
    argv,
  )


if __name__ == "__main__":
  sys.exit(main())
