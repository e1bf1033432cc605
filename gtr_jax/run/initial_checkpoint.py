"""The parameters that a stage starts from: another stage's, T5X's, …"""

import concurrent.futures
import pathlib
import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from gtr_jax.checkpoints import lazy_arrays, manager, names, t5x
from gtr_jax.data import examples
from gtr_jax.run import model_directory, other_libraries, training_data
from gtr_jax.types import Params

# T5's, and that of all models in gin_configs/.
_MAX_DISTANCE = 128
# Arrays that are read at the same time: files and stores answer late, but each
# takes memory.
_READS = 4
# The towers of a model with two, and what each of them is made of.
_SIDES = ("query_encoder", "passage_encoder")
_OF_A_TOWER = {"token_embedder", "encoder", "projection_layer", "pooling_fn"}


def load(path: str, params: Params, say: Callable[[str], None]) -> Params:
  """`params`, with every array replaced that the checkpoint holds.

  Args:
    path: a model directory (its best step), one step of it
      (checkpoints/<step>), a T5X checkpoint, or a folder of Hugging Face or
      sentence-transformers (or hf://org/name).  One tower serves both where
      the model has separate ones.
    params: initialised, on the mesh; what the checkpoint lacks, such as the
      projection in a T5 checkpoint, stays as it is and is reported.
    say: takes lines for the user.

  Raises:
    ValueError: if arrays have another shape, or none fits.
  """
  expected = names.flatten(params)
  found = _for_towers(names.flatten(_read(path, expected, say)), expected)
  try:
    differences = _differences(expected, found)
  except ValueError as error:
    raise ValueError(f"INITIAL_CHECKPOINT_PATH {path}: {error}") from error
  for label, listed in (
    ("not in it, initialised", differences.missing),
    ("not used", differences.unused),
  ):
    if listed:
      more = f" and {len(listed) - 4} more" if len(listed) > 4 else ""
      say(f"{path}: {label}: {', '.join(listed[:4])}{more}")
  taken = [name for name in expected if name in found]
  with concurrent.futures.ThreadPoolExecutor(_READS) as pool:
    arrays = pool.map(lambda name: _like(found[name], expected[name]), taken)
    return names.unflatten(
      {**expected, **dict(zip(taken, arrays, strict=True))}
    )


def check_vocabulary(path: str, data: training_data.TrainingData) -> None:
  """Refuses token embeddings whose pieces nobody named.

  A vocabulary trained on the data would give each of them to another piece.

  Raises:
    ValueError: if neither the checkpoint, nor the task, nor VOCABULARY says
      what the rows of the token table stand for.
  """
  known = (
    data.vocabulary is not None
    or inherited_vocabulary(path) is not None
    or examples.bring_vocabulary(data.task, data.names())
  )
  if not known and (pathlib.Path(path).is_dir() or "://" in path):
    raise ValueError(
      f"INITIAL_CHECKPOINT_PATH {path}: has no vocabulary with it; set"
      " VOCABULARY to the SentencePiece model that it was trained with"
    )


def inherited_vocabulary(path: str | None) -> pathlib.Path | None:
  """The vocabulary that a stage starts with: a model directory's folder, or
  the file beside another library's weights."""
  if not path:
    return None
  if other_libraries.format_of(path) in other_libraries.READERS:
    return other_libraries.vocabulary_of(path)
  own = pathlib.Path(path)
  is_step = own.name.isdigit() and own.parent.name == manager.DIRECTORY
  folder = (own.parents[1] if is_step else own) / model_directory.VOCABULARY
  return folder if folder.is_dir() else None


def _differences(
  expected: Mapping[str, Any], found: Mapping[str, Any]
) -> names.Differences:
  """What the checkpoint lacks and what the model has no place for.

  Raises:
    ValueError: arrays of another shape, none that fits, or half an encoder.
  """
  try:
    differences = names.compare(expected, found)
  except ValueError as error:
    raise ValueError(f"{error}; is it of another size?") from error
  due, came = _layers(expected), _layers(found)
  if came and came != due:
    raise ValueError(
      f"has {len(came)} encoder layers, the model {len(due)}; is it of another"
      " size?"
    )
  if not expected.keys() & found.keys():
    raise ValueError(
      f"none of its {len(found)} arrays is one of the model's; it holds"
      f" {', '.join(list(found)[:3])} …"
    )
  names.check_encoder(differences.missing)
  return differences


def _layers(arrays: Mapping[str, Any]) -> set[str]:
  return set(re.findall(r"\bencoder/(layers_\d+)/", " ".join(arrays)))


def _read(
  path: str, expected: Mapping[str, jax.Array], say: Callable[[str], None]
) -> Any:
  own = pathlib.Path(path)
  # A tower that will serve both is read to where the first of them is.
  shared = {
    name.removeprefix(f"{_SIDES[0]}/"): leaf for name, leaf in expected.items()
  }
  like = {**shared, **expected}
  if own.name.isdigit() and own.parent.name == manager.DIRECTORY:
    return manager.read_params(own.parents[1], int(own.name), like)
  if manager.available_steps(path):
    return manager.read_params(path, manager.best_step(path), like)
  form = other_libraries.format_of(path)
  if form in other_libraries.READERS:
    read = other_libraries.read(form, path, say)
    if read.max_distance != _MAX_DISTANCE:
      say(
        f"{path}: its relative positions end at {read.max_distance}; see that"
        " the model's relative_attention_max_distance is the same"
      )
    return names.unflatten(read.arrays)
  return t5x.open_t5x(path, with_optimizer_state=False).params


def _for_towers(
  found: Mapping[str, Any], expected: Mapping[str, Any]
) -> Mapping[str, Any]:
  """Both towers of a model with two start from a checkpoint that has one."""
  if _has_two(found) or not _has_two(expected):
    return found
  towers = [name for name in found if name.split("/")[0] in _OF_A_TOWER]
  copies = {f"{side}/{name}": found[name] for side in _SIDES for name in towers}
  return {**{k: v for k, v in found.items() if k not in towers}, **copies}


def _has_two(arrays: Mapping[str, Any]) -> bool:
  return any(name.startswith(f"{_SIDES[1]}/") for name in arrays)


def _like(value: Any, leaf: jax.Array) -> jax.Array:
  if isinstance(value, lazy_arrays.LazyArray):
    return _read_to(value, leaf)
  return jax.device_put(jnp.asarray(value, leaf.dtype), leaf.sharding)


def _read_to(array: lazy_arrays.LazyArray, leaf: jax.Array) -> jax.Array:
  """The array where `leaf` is: each process reads its devices' shares only.

  One share is in memory at a time, read once for all devices that have it.
  """
  devices: dict[Any, list[Any]] = {}
  places = leaf.sharding.addressable_devices_indices_map(array.shape)
  for device, part in places.items():
    axes = zip(part or (), array.shape, strict=True)
    bounds = tuple(axis.indices(size)[:2] for axis, size in axes)
    devices.setdefault(bounds, []).append(device)
  shares = {}
  for bounds, holders in devices.items():
    numbers = array[tuple(slice(*bound) for bound in bounds)]
    numbers = numbers.astype(leaf.dtype, copy=False)
    for device in holders:
      shares[device] = jax.device_put(numbers, device)
    # The copy to a device may still be under way.
    jax.block_until_ready([shares[device] for device in holders])
  return jax.make_array_from_single_device_arrays(
    array.shape, leaf.sharding, [shares[device] for device in places]
  )
