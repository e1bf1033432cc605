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
from gtr_jax.retrieval import encode, towers
from gtr_jax.run import (
  exported_model,
  gin_config,
  imported_config,
  other_libraries,
)
from gtr_jax.types import Params, TowerName

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
    max_length: tokens of a text that its own library reads, if it says so.
  """

  model: dual_encoder.DualEncoder
  params: Params
  tokenizer: vocabulary.Tokenizer | None
  step: int
  directory: pathlib.Path
  max_length: int | None = None

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

  A folder of sentence-transformers, Hugging Face or T5X that holds all of a
  model is read as it is.

  Raises:
    ValueError: if something is missing or broken; in one line.
  """
  directory = pathlib.Path(path)
  config = directory / CONFIG_FILE
  # T5X's own folders have a config.gin, too.
  form = other_libraries.format_of(path)
  if form is not None and step is None:
    return _of_other_library(path, form)
  if not config.is_file():
    if exported_model.is_program(path):
      raise ValueError(
        f"{directory}: an export, which encodes and searches; give the model"
        " that it was made of"
      )
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


def _of_other_library(path: str | os.PathLike[str], form: str) -> LoadedModel:
  """Another library's folder, read as it is."""
  read = other_libraries.read(form, path, lambda line: None)
  try:
    found = sizes.from_arrays(read.arrays)
    model = imported_config.model(
      imported_config.text(found, read.max_distance)
    )
    differences = names.compare(imported_config.shapes(model), read.arrays)
    unused = (*read.unused, *differences.unused)
    strangers = [name for name in unused if not huggingface.is_of_decoder(name)]
    if differences.missing or strangers:
      wrong = (
        f"lacks {', '.join(differences.missing[:3])}"
        if differences.missing
        else f"holds {', '.join(strangers[:3])}, which no model has"
      )
      raise ValueError(f"{wrong}; make a model of it with `gtr import`")
  except ValueError as error:
    raise ValueError(f"{path}: {error}") from None
  arrays = {
    name: np.asarray(array)
    for name, array in read.arrays.items()
    if name not in differences.unused
  }
  tokenizer = read.vocabulary and other_libraries.tokenizer(
    read.vocabulary, read.query_prompt, read.passage_prompt
  )
  return LoadedModel(
    model,
    names.unflatten(arrays),
    tokenizer or None,
    read.step,
    pathlib.Path(path),
    read.max_length,
  )


def encoder(
  path: str | os.PathLike[str],
  step: int | None = None,
  query_length: int | None = None,
  passage_length: int | None = None,
  mesh: jax.sharding.Mesh | None = None,
  batch_tokens: int | None = None,
) -> encode.Encoder:
  """An encoder of texts, read from a model directory or an export.

  Args:
    path: the model directory, what `gtr export` made, or another library's
      folder.
    step: which checkpoint; None is the best, else the newest.
    query_length, passage_length: tokens that are read; None is what an export
      or another library's folder says, else 64 and 512.
    mesh: devices that share the work; None takes all of them.  An export has
      its own.
    batch_tokens: see `towers.Towers`; not of an export.

  Raises:
    ValueError: see `load`.
  """
  if exported_model.is_program(path) and step is None:
    return exported_model.encoder(path, query_length, passage_length)
  loaded = load(path, step)
  return encode.Encoder(
    towers.Towers(
      tower_functions(loaded.model),
      loaded.params,
      batch_tokens,
      partitioning.Layout().mesh() if mesh is None else mesh,
    ),
    loaded.tokenizer,
    _first(query_length, loaded.max_length, lengths.GTR.query),
    _first(passage_length, loaded.max_length, lengths.GTR.passage),
    loaded.model.query_encoder.vocab_size,
    loaded.checkpoint_hash,
    loaded.step,
  )


def _first(*lengths: int | None) -> int:
  return next(length for length in lengths if length is not None)


def tower_functions(
  model: dual_encoder.DualEncoder,
) -> dict[TowerName, towers.TowerFunction]:
  """A model's towers; a shared one is one function, compiled once."""

  def query(params: Params, tokens, segments, num_texts) -> jax.Array:
    return dual_encoder.encode(
      model, params, tokens, "query", None, segments, num_texts
    )

  def passage(params: Params, tokens, segments, num_texts) -> jax.Array:
    return dual_encoder.encode(
      model, params, tokens, "passage", None, segments, num_texts
    )

  shared = model.passage_encoder is None
  return {"query": query, "passage": query if shared else passage}


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
