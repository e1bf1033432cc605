"""A model directory: what training and importing leave, and how it is read.

config.gin (the operative config), checkpoints/<step>/, vocabulary/; beside
them metrics.jsonl, tensorboard/ and examples/.
"""

import contextlib
import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from gtr_jax import partitioning
from gtr_jax.checkpoints import huggingface, manager, names, sizes
from gtr_jax.data import vocabulary
from gtr_jax.evaluation import lengths
from gtr_jax.files import lock, whole
from gtr_jax.models import dual_encoder
from gtr_jax.retrieval import encode
from gtr_jax.run import gin_config, imported_config, other_libraries
from gtr_jax.types import Params

CONFIG_FILE = "config.gin"
VOCABULARY = "vocabulary"
LOCK_FILE = ".lock"


@dataclasses.dataclass(frozen=True)
class LoadedModel:
  """A model read from its directory.

  Attributes:
    model: the dual encoder.
    params: its arrays under T5X's names, float32.
    tokenizer: its vocabulary and prompts; None if the directory has none.
    step: of the checkpoint.
    directory: where it was read from.
  """

  model: dual_encoder.DualEncoder
  params: Params
  tokenizer: vocabulary.Tokenizer | None
  step: int
  directory: pathlib.Path

  @property
  def checkpoint_hash(self) -> str:
    """SHA-256 of all names and values, the first 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for name, value in sorted(names.flatten(self.params).items()):
      digest.update(name.encode())
      digest.update(np.ascontiguousarray(value).data)
    return digest.hexdigest()[:16]


def load(path: str | os.PathLike[str], step: int | None = None) -> LoadedModel:
  """Reads a model: its best step if the evaluations know one, else the newest.

  A folder of sentence-transformers, exported by `gtr export` or another's, is
  read as it is.

  Raises:
    ValueError: if something is missing or broken; in one line.
  """
  directory = pathlib.Path(path)
  config = directory / CONFIG_FILE
  if not config.is_file():
    form = other_libraries.format_of(path)
    if form is not None and step is None:
      return _of_other_library(directory, form)
    raise ValueError(
      f"{directory}: is no model directory: it holds no {CONFIG_FILE}; give the"
      " MODEL_DIR of a `gtr train`, or make one with `gtr import`"
    )
  chosen = manager.best_step(directory) if step is None else step
  folder = directory / VOCABULARY
  return LoadedModel(
    model=gin_config.macro_of_file(config, "MODEL"),
    params=manager.read_params(directory, chosen),
    tokenizer=vocabulary.load_directory(folder) if folder.is_dir() else None,
    step=chosen,
    directory=directory,
  )


def _of_other_library(directory: pathlib.Path, form: str) -> LoadedModel:
  """A folder of Hugging Face or sentence-transformers, read as it is."""
  read = other_libraries.read(form, directory, lambda line: None)
  try:
    found = sizes.from_arrays(read.arrays)
    model = imported_config.model(
      imported_config.text(found, read.max_distance)
    )
    strangers = [k for k in read.unused if not huggingface.is_of_decoder(k)]
    if found.projection_dim is None or strangers:
      lacking = ", ".join(strangers[:3]) or "no projection"
      raise ValueError(f"holds {lacking}; make a model of it with `gtr import`")
  except ValueError as error:
    raise ValueError(f"{directory}: {error}") from None
  arrays = {name: np.asarray(array) for name, array in read.arrays.items()}
  tokenizer = read.vocabulary and other_libraries.tokenizer(
    read.vocabulary, read.query_prompt, read.passage_prompt
  )
  return LoadedModel(model, names.unflatten(arrays), tokenizer, 0, directory)


def encoder(
  path: str | os.PathLike[str],
  step: int | None = None,
  query_length: int = lengths.GTR.query,
  passage_length: int = lengths.GTR.passage,
  mesh: jax.sharding.Mesh | None = None,
) -> encode.Encoder:
  """An encoder of texts, read from a model directory.

  Args:
    path: the model directory.
    step: which checkpoint; None is the best, else the newest.
    query_length: tokens of a query that are read.
    passage_length: tokens of a passage that are read.
    mesh: devices that share the work; None takes all of them.
  """
  if mesh is None:
    mesh = partitioning.Layout().mesh()
  loaded = load(path, step)
  return make_encoder(
    loaded.model,
    loaded.params,
    loaded.tokenizer,
    query_length,
    passage_length,
    mesh,
    checkpoint_hash=loaded.checkpoint_hash,
  )


def make_encoder(
  model: dual_encoder.DualEncoder,
  params: Params,
  tokenizer: vocabulary.Tokenizer | None,
  query_length: int = lengths.GTR.query,
  passage_length: int = lengths.GTR.passage,
  mesh: jax.sharding.Mesh | None = None,
  checkpoint_hash: str | None = None,
) -> encode.Encoder:
  """An encoder around a model and its parameters."""

  def query(params: Params, tokens, segments, num_texts) -> jax.Array:
    return dual_encoder.encode(
      model, params, tokens, "query", None, segments, num_texts
    )

  def passage(params: Params, tokens, segments, num_texts) -> jax.Array:
    return dual_encoder.encode(
      model, params, tokens, "passage", None, segments, num_texts
    )

  return encode.Encoder(
    # A shared tower is one function, so that it compiles once for both.
    towers={
      "query": query,
      "passage": query if model.passage_encoder is None else passage,
    },
    params=params,
    tokenizer=tokenizer,
    query_length=query_length,
    passage_length=passage_length,
    mesh=mesh,
    vocab_size=model.query_encoder.vocab_size,
    checkpoint_hash=checkpoint_hash,
  )


def path_of(model_dir: str) -> pathlib.Path:
  """The folder of a MODEL_DIR.

  Raises:
    ValueError: for an address such as gs://bucket/model, which pathlib would
      take for a folder of this machine.
  """
  scheme, separator, rest = model_dir.partition("://")
  if separator:
    raise ValueError(
      f"MODEL_DIR is {model_dir}; a folder is due: mount the store (gcsfuse for"
      f" {scheme}://) on every host and give the folder, such as /mnt/{rest}"
    )
  return pathlib.Path(model_dir)


@contextlib.contextmanager
def locked(directory: pathlib.Path) -> Iterator[None]:
  """Keeps other processes of this machine from training in the directory.

  A second one would take the first one's half-written checkpoints for those of
  a killed run and remove them.

  Raises:
    ValueError: if another process is at work in the directory.
  """
  refusal = (
    f"{directory}: another process trains in it; wait until it has ended, or"
    " choose another MODEL_DIR"
  )
  with lock.held(directory / LOCK_FILE, refusal):
    yield


def write_config(directory: pathlib.Path, text: str) -> None:
  """Writes config.gin whole or not at all."""
  whole.write(directory / CONFIG_FILE, text.encode())


def write(
  directory: pathlib.Path,
  config: str,
  params: Any,
  tokenizer: vocabulary.Tokenizer | None,
  step: int = 0,
) -> None:
  """Makes a model directory of parameters that were not trained here.

  Raises:
    ValueError: if the directory holds checkpoints already.
  """
  if manager.available_steps(directory):
    raise ValueError(
      f"{directory}: holds checkpoints already; choose another directory"
    )
  directory.mkdir(parents=True, exist_ok=True)
  if tokenizer is not None:
    vocabulary.save(tokenizer, directory / VOCABULARY)
  write_config(directory, config)
  checkpoints = manager.open_checkpoints(directory)
  checkpoints.save(step, params)
  checkpoints.close()
