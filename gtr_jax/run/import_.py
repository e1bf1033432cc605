"""`gtr import`: another library's weights become a model directory."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gtr_jax.run import cli

if TYPE_CHECKING:  # Heavy: `gtr import --help` shall not wait for them.
  from gtr_jax.checkpoints import huggingface
  from gtr_jax.checkpoints import sizes as sizes_lib


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
  parser.add_argument(
    "--seed", type=int, default=0, help="of --initialize_missing"
  )


def run(args: argparse.Namespace) -> Mapping[str, Any]:
  import pathlib

  import numpy as np

  from gtr_jax.checkpoints import huggingface, manager, names, sizes
  from gtr_jax.run import imported_config, model_directory

  output = pathlib.Path(args.output)
  if manager.available_steps(output):
    raise ValueError(
      f"{output}: holds checkpoints already; choose another --output"
    )
  found, step, checkpoint = _read(args)
  tokenizer = _tokenizer(args.vocabulary, checkpoint)
  try:
    found_sizes = sizes.from_arrays(found)
    _check_vocabulary(tokenizer, found_sizes)
    max_distance = _max_distance(
      args.relative_attention_max_distance, checkpoint
    )
    config = imported_config.text(
      found_sizes, max_distance, args.activation_dtype
    )
    expected, init = _expected(config, args.seed)
    differences = names.compare(expected, found)
    unused = (*differences.unused, *(checkpoint.unused if checkpoint else ()))
    _check_unused(
      [name for name in unused if not huggingface.is_of_decoder(name)],
      args.allow_unused,
    )
    if differences.missing and not args.initialize_missing:
      raise ValueError(
        f"lacks {_some(differences.missing)}; use --initialize_missing to draw"
        f" it at random and train it{_hint(args, differences.missing)}"
      )
    params = {
      name: np.asarray(found[name]) for name in expected if name in found
    }
    _check_finite(params)
  except ValueError as error:
    raise ValueError(f"{args.checkpoint}: {error}") from error
  params |= init(differences.missing)
  model_directory.write(
    output, config, names.unflatten(params), tokenizer, step
  )
  result = {
    "model": str(output),
    "parameters": sum(array.size for array in params.values()),
    "unused": sorted(unused),
    "missing": list(differences.missing),
  }
  print(_summary(result, step))
  if tokenizer is None:
    print("no vocabulary: the model takes token ids; --vocabulary gives one")
  return result


def _read(
  args: argparse.Namespace,
) -> tuple[Mapping[str, Any], int, "huggingface.Checkpoint | None"]:
  """(arrays, read or to be read; step; what else another library says)."""
  from gtr_jax.checkpoints import names, t5x
  from gtr_jax.run import other_libraries

  if args.format == "t5x":
    read = t5x.read_t5x(args.checkpoint, with_optimizer_state=False)
    return names.flatten(read.params), read.step, None
  checkpoint = other_libraries.read(
    args.format, args.checkpoint, lambda line: print(line, file=sys.stderr)
  )
  return checkpoint.arrays, 0, checkpoint


def _tokenizer(
  path: str | None, checkpoint: "huggingface.Checkpoint | None"
) -> Any:
  from gtr_jax.run import other_libraries

  own = checkpoint.vocabulary if checkpoint else None
  if not path and not own:
    return None
  prompts = (
    (checkpoint.query_prompt, checkpoint.passage_prompt) if checkpoint else ()
  )
  return other_libraries.tokenizer(path or str(own), *prompts)


def _max_distance(
  flag: int | None, checkpoint: "huggingface.Checkpoint | None"
) -> int:
  own = checkpoint.max_distance if checkpoint else None
  if flag is not None and own not in (None, flag):
    raise ValueError(
      f"--relative_attention_max_distance is {flag}, its config says {own};"
      " leave the flag out"
    )
  if flag is None:
    return 128 if own is None else own
  return flag


def _check_unused(unused: Sequence[str], allowed: bool) -> None:
  if unused and not allowed:
    raise ValueError(
      f"holds {_some(unused)}, for which the model has no place;"
      " --allow_unused leaves that out"
    )


def _hint(args: argparse.Namespace, missing: Sequence[str]) -> str:
  """Where a projection may be that was not looked for."""
  import pathlib

  from gtr_jax.checkpoints import sentence_transformers

  beside = pathlib.Path(args.checkpoint) / sentence_transformers.MODULES_FILE
  if sentence_transformers.PROJECTION in missing and beside.is_file():
    return f"; {beside.name} is there: use --format=sentence-transformers"
  return ""


def _check_finite(arrays: Mapping[str, Any]) -> None:
  import numpy as np

  broken = [k for k, array in arrays.items() if not np.isfinite(array).all()]
  if broken:
    raise ValueError(f"NaN or infinity in {_some(broken)}")


def _check_vocabulary(tokenizer: Any, sizes: "sizes_lib.Sizes") -> None:
  if tokenizer is not None and tokenizer.vocab_size > sizes.vocab_size:
    raise ValueError(
      f"token_embedder/embedding has {sizes.vocab_size} rows, but --vocabulary"
      f" has {tokenizer.vocab_size} pieces; it is another model's"
    )


def _expected(config: str, seed: int):
  """Shapes that the config's model has, and a function that draws arrays.

  Returns:
    (flat name to shape, function of names that gives new float32 arrays).
  """
  import jax
  import jax.numpy as jnp
  import numpy as np
  from flax import linen as nn

  from gtr_jax.checkpoints import names
  from gtr_jax.run import imported_config

  model = imported_config.model(config)
  tokens = jnp.ones((1, 1), jnp.int32)

  def params(key):
    return names.flatten(nn.unbox(model.init(key, tokens, tokens)["params"]))

  def init(wanted: Sequence[str]) -> dict[str, np.ndarray]:
    if not wanted:
      return {}
    # Under jit nothing but what is wanted is made.
    make = jax.jit(lambda key: {name: params(key)[name] for name in wanted})
    return {k: np.asarray(x) for k, x in make(jax.random.key(seed)).items()}

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
