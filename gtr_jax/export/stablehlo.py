"""Programs that any JAX runs: StableHLO by `jax.export`, arrays beside them.

The arrays are an argument: the largest model's are 19 GB and the format of a
program ends at 2.  A reader needs jax and safetensors, none of our code.
"""

import contextlib
import importlib.metadata
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from gtr_jax.checkpoints import names
from gtr_jax.export import (
  check,
  consumer_process,
  fast_tokenizer,
  model_card,
  safetensors_files,
  stablehlo_usage,
  towers,
)
from gtr_jax.export import original as original_lib
from gtr_jax.files import optional
from gtr_jax.types import TowerName

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
PROGRAM_SUFFIX = ".stablehlo"
# JAX's option: what is left out of the names of source files.
_LEFT_OUT = "jax_hlo_source_file_canonicalization_regex"
_SERVER = "gtr_jax.export.stablehlo_server"


def write(original: original_lib.Original, directory: pathlib.Path) -> None:
  """Writes programs, arrays, vocabulary, towers.json and a README."""
  written: set[str] = set()
  for tower, settings in towers.of(original).items():
    if settings.model in written:
      continue
    written.add(settings.model)
    arrays = _arrays(original, tower)
    program = _program(original.encoders()[tower], arrays)
    path = directory / f"{settings.model}{PROGRAM_SUFFIX}"
    path.write_bytes(program.serialize())
    safetensors_files.write(
      directory / f"{settings.model}.safetensors",
      {name: safetensors_files.Part(array) for name, array in arrays.items()},
    )
  vocabulary = directory / fast_tokenizer.VOCABULARY_FILE
  vocabulary.write_bytes(original.tokenizer.model_bytes)
  towers.write(original, directory)
  usage = stablehlo_usage.usage(original, PLATFORMS)
  model_card.write(original, usage, directory)


def load(directory: pathlib.Path) -> check.Export:
  """Reads it back as the README does, in a process without our code."""
  optional.load("safetensors", "interop")
  return consumer_process.Loaded(_SERVER, directory, str(consumer()))


def consumer() -> str | None:
  """JAX and its version."""
  return consumer_process.version("safetensors", "sentencepiece", "jax")


def details() -> Mapping[str, Any]:
  """Of the description: what may call the programs, in which versions."""
  smallest = jax.export.export(jax.jit(lambda x: x))(jnp.zeros(()))
  written = re.search(rb"StableHLO_v([\d.]+)", smallest.mlir_module_serialized)
  return {
    "format": "stablehlo",
    "platforms": list(PLATFORMS),
    "import": ["jax", "safetensors", "sentencepiece"],
    "calling_convention": smallest.calling_convention_version,
    "stablehlo": written[1].decode() if written else None,
    "jaxlib": importlib.metadata.version("jaxlib"),
  }


def open_towers(
  directory: pathlib.Path,
) -> Callable[[np.ndarray, TowerName], np.ndarray]:
  """The towers as a function, in this process.

  Returns:
    Token ids int32 [n, L], 0 is padding, and a tower to float32 [n, D]; n and
    L may be 0.
  """
  settings = towers.read(directory)
  models = {
    name: _open(directory, name)
    for name in {t.model for t in settings.values()}
  }
  return lambda tokens, tower: models[settings[tower].model](tokens)


def _arrays(
  original: original_lib.Original, tower: TowerName
) -> dict[str, Any]:
  """The tower's own, by name; a learned temperature is the loss's."""
  tokens = jax.ShapeDtypeStruct((1, 1), jnp.int32)
  shapes = jax.eval_shape(
    lambda tokens: nn.unbox(
      original.model.init(jax.random.key(0), tokens, method=f"encode_{tower}")
    ),
    tokens,
  )
  arrays = names.flatten(original.written_params)
  return {name: arrays[name] for name in names.flatten(shapes["params"])}


def _program(
  encode: original_lib.TowerFunction, arrays: Mapping[str, Any]
) -> jax.export.Exported:
  """Arrays by name and token ids int32 [b, l] to float32 [b, D]."""

  def embeddings(params, tokens):
    return encode(names.unflatten(params), tokens)

  params = {
    name: jax.ShapeDtypeStruct(array.shape, array.dtype)
    for name, array in arrays.items()
  }
  shape = jax.export.symbolic_shape("b, l")
  tokens = jax.ShapeDtypeStruct(shape, jnp.int32)
  export = jax.export.export(jax.jit(embeddings), platforms=PLATFORMS)
  with _without_paths():
    return export(params, tokens)


@contextlib.contextmanager
def _without_paths() -> Iterator[None]:
  """Programs name the source of each operation: by file, not by folder."""
  before = getattr(jax.config, _LEFT_OUT)
  jax.config.update(_LEFT_OUT, ".*/")
  try:
    yield
  finally:
    jax.config.update(_LEFT_OUT, before)


def _open(
  directory: pathlib.Path, name: str
) -> Callable[[np.ndarray], np.ndarray]:
  exported = _deserialized(directory / f"{name}{PROGRAM_SUFFIX}")
  params = safetensors_files.read(directory / f"{name}.safetensors")
  _require_arrays(directory, exported, params)
  call = jax.jit(exported.call)

  def encode(tokens: np.ndarray) -> np.ndarray:
    num_rows, length = tokens.shape
    padding = ((0, _more(num_rows)), (0, _more(length)))
    return np.asarray(call(params, np.pad(tokens, padding)))[:num_rows]

  return encode


def _more(size: int) -> int:
  """What lacks to a power of two: each new shape compiles, none is empty."""
  return (1 << (size - 1).bit_length() if size else 1) - size


def _deserialized(path: pathlib.Path) -> jax.export.Exported:
  try:
    return jax.export.deserialize(bytearray(path.read_bytes()))
  except FileNotFoundError:
    raise ValueError(f"{path}: no such file; export the model again") from None
  except Exception as error:  # Of many kinds, by where it is cut.
    reason = str(error).partition("\n")[0]
    raise ValueError(
      f"{path}: broken, cut, or of a JAX too old or too new for"
      f" {jax.__version__} ({reason:.200}); export the model again"
    ) from None


def _require_arrays(
  directory: pathlib.Path,
  exported: jax.export.Exported,
  params: Mapping[str, jax.Array],
) -> None:
  """Checks that the arrays are those of the program."""
  (due, _), _ = jax.tree.unflatten(exported.in_tree, exported.in_avals)
  for name in sorted(due.keys() | params.keys()):
    if name not in params:
      raise ValueError(f"{directory}: array {name} is missing; export again")
    if name not in due:
      raise ValueError(
        f"{directory}: array {name} is none of the program's; export again"
      )
    came, wanted = params[name], due[name]
    if (came.shape, came.dtype) != (wanted.shape, wanted.dtype):
      raise ValueError(
        f"{directory}: array {name} is {came.dtype} {list(came.shape)}, the"
        f" program's {wanted.dtype} {list(wanted.shape)}; export again"
      )
