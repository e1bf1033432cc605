"""`gtr import`: another library's weights become a model directory."""

import argparse
import contextlib
import dataclasses
import pathlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gtr_jax.run import cli

if TYPE_CHECKING:  # Heavy: `gtr import --help` shall not wait for them.
  from gtr_jax.checkpoints import huggingface, lazy_arrays
  from gtr_jax.checkpoints import sizes as sizes_lib

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
  from gtr_jax.run import import_comparison, import_source

  output = pathlib.Path(args.output)
  _require_free(output)
  checkpoint = import_source.open_checkpoint(
    args.format,
    args.checkpoint,
    args.relative_attention_max_distance,
    lambda line: print(line, file=sys.stderr),
  )
  tokenizer = _tokenizer(args.vocabulary, checkpoint)
  with _named(args.checkpoint):
    plan = _plan(args, checkpoint, tokenizer)
  # Nothing that looks like a model directory is there before it is whole.
  with placement.new_directory(output) as directory, _named(args.checkpoint):
    _write(directory, plan, tokenizer, checkpoint.step)
    comparison, not_compared = None, _why_not_compared(args, plan)
    if not not_compared:
      comparison = import_comparison.compare(
        args.format, args.checkpoint, directory
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


@dataclasses.dataclass(frozen=True)
class _Plan:
  """What will be written.

  Attributes:
    config: text of config.gin.
    arrays: all of the model's, by flat names, still to be read.
    unused: names of arrays in the checkpoint that the model has no place for.
    missing: names of arrays that are drawn at random.
  """

  config: str
  arrays: "Mapping[str, lazy_arrays.LazyArray]"
  unused: tuple[str, ...]
  missing: tuple[str, ...]

  @property
  def num_parameters(self) -> int:
    return sum(array.size for array in self.arrays.values())


def _why_not_compared(args: argparse.Namespace, plan: _Plan) -> str | None:
  """Why the libraries are not asked; None if they shall be."""
  if args.unchecked:
    return "not compared: --unchecked"
  if args.checked or 4 * plan.num_parameters <= _MOST_COMPARED:
    return None
  return (
    f"not compared: {4 * plan.num_parameters / 2**30:.1f} GiB of parameters"
    " would be in memory twice; --checked compares them all the same"
  )


def _plan(
  args: argparse.Namespace, checkpoint: "huggingface.Checkpoint", tokenizer: Any
) -> _Plan:
  """Compares the checkpoint's arrays, unread, with the model of their sizes."""
  from gtr_jax.checkpoints import huggingface, names, sizes
  from gtr_jax.run import imported_config

  found = checkpoint.arrays
  found_sizes = sizes.from_arrays(found)
  _check_vocabulary(tokenizer, found_sizes)
  _check_max_distance(args.relative_attention_max_distance, checkpoint)
  config = imported_config.text(
    found_sizes, checkpoint.max_distance, args.activation_dtype
  )
  expected, init = _expected(config, args.seed)
  differences = names.compare(expected, found)
  unused = tuple(sorted((*differences.unused, *checkpoint.unused)))
  _check_unused(
    [name for name in unused if not huggingface.is_of_decoder(name)],
    args.allow_unused,
  )
  names.check_encoder(differences.missing)
  if differences.missing and not args.initialize_missing:
    raise ValueError(
      f"lacks {_some(differences.missing)}; use --initialize_missing to draw"
      f" it at random and train it{_hint(args, differences.missing)}"
    )
  drawn = init(differences.missing)
  arrays = {
    name: drawn[name] if name in drawn else _finite(name, found[name])
    for name in expected
  }
  return _Plan(config, arrays, unused, differences.missing)


def _write(
  directory: pathlib.Path, plan: _Plan, tokenizer: Any, step: int
) -> None:
  from gtr_jax.checkpoints import streaming
  from gtr_jax.data import vocabulary
  from gtr_jax.run import model_directory

  streaming.save(directory, step, plan.arrays)
  if tokenizer is not None:
    vocabulary.save(tokenizer, directory / model_directory.VOCABULARY)
  model_directory.write_config(directory, plan.config)


@contextlib.contextmanager
def _named(checkpoint: str) -> Iterator[None]:
  """Puts the checkpoint's name before a user's mistake."""
  try:
    yield
  except ValueError as error:
    text = str(error)
    place = "" if text.startswith(checkpoint) else f"{checkpoint}: "
    raise ValueError(f"{place}{text}") from error


def _tokenizer(path: str | None, checkpoint: "huggingface.Checkpoint") -> Any:
  from gtr_jax.run import other_libraries

  found = path or checkpoint.vocabulary
  if not found:
    return None
  return other_libraries.tokenizer(
    found, checkpoint.query_prompt, checkpoint.passage_prompt
  )


def _check_max_distance(
  flag: int | None, checkpoint: "huggingface.Checkpoint"
) -> None:
  if flag not in (None, checkpoint.max_distance):
    raise ValueError(
      f"--relative_attention_max_distance is {flag}, its config says"
      f" {checkpoint.max_distance}; leave the flag out"
    )


def _check_unused(unused: Sequence[str], allowed: bool) -> None:
  if unused and not allowed:
    raise ValueError(
      f"holds {_some(unused)}, for which the model has no place;"
      " --allow_unused leaves that out"
    )


def _hint(args: argparse.Namespace, missing: Sequence[str]) -> str:
  """Where a projection may be that was not looked for."""
  from gtr_jax.checkpoints import sentence_transformers

  beside = pathlib.Path(args.checkpoint) / sentence_transformers.MODULES_FILE
  if sentence_transformers.PROJECTION in missing and beside.is_file():
    return f"; {beside.name} is there: use --format=sentence-transformers"
  return ""


def _finite(
  name: str, array: "lazy_arrays.LazyArray"
) -> "lazy_arrays.LazyArray":
  """The array, which refuses NaN and infinity when it is read."""
  import numpy as np

  def read(part: "lazy_arrays.Part") -> np.ndarray:
    numbers = array[part]
    if not np.isfinite(numbers).all():
      raise ValueError(f"NaN or infinity in {name}")
    return numbers

  return dataclasses.replace(array, read=read)


def _check_vocabulary(tokenizer: Any, sizes: "sizes_lib.Sizes") -> None:
  if tokenizer is not None and tokenizer.vocab_size > sizes.vocab_size:
    raise ValueError(
      f"token_embedder/embedding has {sizes.vocab_size} rows, but --vocabulary"
      f" has {tokenizer.vocab_size} pieces; it is another model's"
    )


def _expected(config: str, seed: int):
  """Shapes that the config's model has, and a function that draws arrays.

  Returns:
    (flat name to shape, function of names that draws arrays).
  """
  import jax
  import jax.numpy as jnp
  import numpy as np
  from flax import linen as nn

  from gtr_jax.checkpoints import lazy_arrays, names
  from gtr_jax.run import imported_config

  model = imported_config.model(config)
  tokens = jnp.ones((1, 1), jnp.int32)

  def params(key):
    return names.flatten(nn.unbox(model.init(key, tokens, tokens)["params"]))

  def init(wanted: Sequence[str]) -> dict[str, lazy_arrays.LazyArray]:
    if not wanted:
      return {}
    # Under jit nothing but what is wanted is made.
    make = jax.jit(lambda key: {name: params(key)[name] for name in wanted})
    drawn = make(jax.random.key(seed))
    return {k: lazy_arrays.in_memory(np.asarray(x)) for k, x in drawn.items()}

  return jax.eval_shape(params, jax.random.key(seed)), init


def _some(found: Sequence[str]) -> str:
  more = f" and {len(found) - 3} more" if len(found) > 3 else ""
  return ", ".join(found[:3]) + more


def _summary(result: Mapping[str, Any], step: int) -> str:
  lines = [
    f"{result['model']}: step {step:,}, {result['parameters']:,} parameters"
  ]
  if result["unused"]:
    lines.append(f"not used: {_some(result['unused'])}")
  if result["missing"]:
    lines.append(f"drawn at random: {_some(result['missing'])}")
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
