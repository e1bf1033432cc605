"""Reads T5X checkpoints, as they lie on disk, without T5X.

Three generations of T5X wrote three formats:

  legacy            `checkpoint`, a msgpack tree whose leaves are arrays or
                    TensorStore specifications; a zarr folder an array
  Orbax             `state/_METADATA` names the arrays; a zarr folder an array
                    (or, 2023, `state/checkpoint` with "PLACEHOLDER://" leaves)
  Orbax with OCDBT  likewise, all arrays in one key-value store

Everything is read through TensorStore, so a `gs://` path works as a local one.
"""

import concurrent.futures
import dataclasses
import json
import os
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import flax.serialization
import jax
import msgpack
import numpy as np
import tensorstore

from gtr_jax.checkpoints import lazy_arrays, names, stored_arrays

_OF_TENSORFLOW = b"model_checkpoint_path"
_PLACEHOLDER = "PLACEHOLDER://"
_ADAFACTOR = frozenset({"m", "v", "v_row", "v_col"})
# What reading a description that is not what it should be may raise.
_MALFORMED = (ValueError, TypeError, KeyError, AttributeError)
_STEP_FOLDER = re.compile(r"checkpoint_(\d+)")


@dataclasses.dataclass(frozen=True)
class T5XCheckpoint:
  """What a T5X checkpoint holds.

  Attributes:
    step: number of updates done.
    params: nested dict of float32 arrays, in memory or lazy, under T5X names;
      an encoder-decoder's `decoder` is in it as well.
    optimizer_state: of Adafactor, by flat parameter name, a dict of the
      arrays m, v, v_row, v_col ([1] where Adafactor does without); None if the
      checkpoint holds none, or another optimizer's.
  """

  step: int
  params: dict[str, Any]
  optimizer_state: dict[str, dict[str, Any]] | None


def is_checkpoint(folder: pathlib.Path) -> bool:
  """Whether a local folder is a checkpoint, or holds some as T5X names them."""
  if not folder.is_dir():
    return False
  if (folder / "checkpoint").is_file() or (folder / "state").is_dir():
    return True
  return any(map(_STEP_FOLDER.fullmatch, os.listdir(folder)))


def read_t5x(
  path: str | os.PathLike[str], with_optimizer_state: bool = True
) -> T5XCheckpoint:
  """`open_t5x`, with all arrays read into memory: float32 NumPy arrays."""
  opened = open_t5x(path, with_optimizer_state)
  # Reading is where the time goes, and TensorStore's reads overlap.
  with concurrent.futures.ThreadPoolExecutor(16) as pool:
    trees = opened.params, opened.optimizer_state
    futures = jax.tree.map(lambda leaf: pool.submit(np.asarray, leaf), trees)
    params, state = jax.tree.map(lambda future: future.result(), futures)
  return T5XCheckpoint(opened.step, params, state)


def open_t5x(
  path: str | os.PathLike[str], with_optimizer_state: bool = True
) -> T5XCheckpoint:
  """Opens a checkpoint of T5X; arrays stay on disk.

  Args:
    path: a checkpoint's directory, or a directory with checkpoint_N in it, of
      which the newest is read; local or gs://bucket/...
    with_optimizer_state: False does not look at it, and gives None.

  Raises:
    ValueError: nothing to read there, or a broken, cut or missing piece.
  """
  root = _checkpoint_folder(os.fspath(path).rstrip("/"))
  folder, tree = _index(root)
  tree = tree.get("optimizer", tree)  # Legacy keeps all under this name.
  state, target = tree.get("state", {}), tree.get("target")
  if not isinstance(target, Mapping) or not isinstance(state, Mapping):
    raise ValueError(
      f"{root}: no T5X train state; due are 'target' and 'state', found "
      f"{sorted(map(str, tree))}"
    )
  step = state.get("step", tree.get("step"))
  if step is None:
    raise ValueError(f"{root}: the checkpoint does not say its step")
  moments = state.get("param_states") if with_optimizer_state else None
  wanted = {"target": target}
  if isinstance(moments, Mapping) and _is_adafactor(moments):
    wanted["param_states"] = moments
  arrays = names.unflatten(_opened(folder, names.flatten(wanted)))
  return T5XCheckpoint(
    step=_step(folder, step),
    params=arrays["target"],
    optimizer_state=_by_parameter(arrays.get("param_states")),
  )


def _checkpoint_folder(path: str) -> str:
  """`path` itself if it is a checkpoint, else its newest checkpoint_N."""
  if "://" not in path and not pathlib.Path(path).is_dir():
    known = "is a file" if pathlib.Path(path).is_file() else "no such directory"
    raise ValueError(
      f"{path}: {known}; due is the directory of a T5X checkpoint"
    )
  found = _top_level(path)
  if found & {"checkpoint", "_METADATA", "state"}:
    return path
  matches = [_STEP_FOLDER.fullmatch(name) for name in found]
  steps = [int(match[1]) for match in matches if match]
  if not steps:
    raise ValueError(
      f"{path}: no T5X checkpoint; due is a directory with 'checkpoint' or "
      "'state/_METADATA' in it, or checkpoint_N directories"
    )
  return f"{path}/checkpoint_{max(steps)}"


def _top_level(path: str) -> set[str]:
  if "://" not in path:
    return set(os.listdir(path))
  try:
    store = tensorstore.KvStore.open(stored_arrays.kvstore(path)).result()
    keys = store.list().result()
  except stored_arrays.BROKEN as error:
    reason = " ".join(str(error).split())
    raise ValueError(f"{path}: cannot be listed ({reason:.300})") from None
  return {key.decode().split("/")[0] for key in keys}


def _read_file(folder: str, name: str) -> bytes | None:
  store = tensorstore.KvStore.open(stored_arrays.kvstore(folder)).result()
  found = store.read(name).result()
  return found.value if found.state == "value" else None


def _index(root: str) -> tuple[str, dict[str, Any]]:
  """The folder of the arrays, and the tree: leaves are arrays or `Stored`."""
  for folder in (root, f"{root}/state"):
    # Orbax of 2023 wrote both; then `checkpoint` alone has the small arrays.
    index = _read_file(folder, "checkpoint")
    if index is not None:
      ocdbt = _read_file(folder, "manifest.ocdbt") is not None
      return folder, _msgpack_tree(f"{folder}/checkpoint", index, ocdbt)
    metadata = _read_file(folder, "_METADATA")
    if metadata is not None:
      return folder, _orbax_tree(f"{folder}/_METADATA", metadata)
  raise ValueError(
    f"{root}: no T5X checkpoint; neither 'checkpoint' nor 'state/_METADATA' "
    "is in it (was it copied whole?)"
  )


def _msgpack_tree(path: str, index: bytes, ocdbt: bool) -> dict[str, Any]:
  if index.startswith(_OF_TENSORFLOW):
    raise ValueError(
      f"{path}: is TensorFlow's index of a checkpoint of T5 before T5X; convert"
      " it with t5x.scripts.convert_tf_checkpoint"
    )
  try:
    tree = _with_stored(flax.serialization.msgpack_restore(index), ocdbt)
  except (*_MALFORMED, msgpack.UnpackException) as error:
    raise ValueError(
      f"{path}: broken or cut, {len(index)} bytes are no T5X index"
      f" ({error!r:.200})"
    ) from error
  if not isinstance(tree, dict):
    raise ValueError(f"{path}: no T5X index, due is a tree of arrays")
  return tree


def _with_stored(node: Any, ocdbt: bool) -> Any:
  """The msgpack tree, with `Stored` where it names an array elsewhere."""
  if isinstance(node, str) and node.startswith(_PLACEHOLDER):
    return stored_arrays.Stored(node.removeprefix(_PLACEHOLDER), ocdbt=ocdbt)
  if not isinstance(node, Mapping):
    return node
  if "driver" in node and "kvstore" in node:
    # The path may still name the place where the checkpoint was written, so
    # only its last part, the array's folder, counts.
    path = node.get("path") or node["kvstore"]["path"]
    shape = node.get("metadata", {}).get("shape")
    return stored_arrays.Stored(
      path.rstrip("/").split("/")[-1],
      None if shape is None else tuple(shape),
      node["driver"],
    )
  children = {str(key): _with_stored(x, ocdbt) for key, x in node.items()}
  return {key: x for key, x in children.items() if not _is_empty(x)}


def _is_empty(node: Any) -> bool:
  return node is None or (isinstance(node, Mapping) and not node)


def _orbax_tree(path: str, metadata: bytes) -> dict[str, Any]:
  """The tree that Orbax's `_METADATA` describes."""
  try:
    return names.unflatten(_orbax_leaves(json.loads(metadata)))
  except _MALFORMED as error:
    raise ValueError(
      f"{path}: broken or cut, no description of arrays ({error!r:.200})"
    ) from error


def _orbax_leaves(index: Mapping[str, Any]) -> dict[str, stored_arrays.Stored]:
  driver = "zarr3" if index.get("use_zarr3") else "zarr"
  # Files from before this entry existed were all written with OCDBT.
  ocdbt = index.get("use_ocdbt", True)
  leaves = {}
  for entry in index["tree_metadata"].values():
    keys = [str(key["key"]) for key in entry["key_metadata"]]
    value = entry["value_metadata"]
    if not value.get("skip_deserialize"):
      # What one device wrote: all of it, its shard, or a part even of an array
      # that all devices hold.
      written = value.get("write_shape")
      leaves["/".join(keys)] = stored_arrays.Stored(
        ".".join(keys),
        None,
        driver,
        ocdbt,
        None if written is None else tuple(written),
      )
  return leaves


def _opened(folder: str, leaves: Mapping[str, Any]) -> dict[str, Any]:
  """All leaves as lazy arrays, in the order of the tree."""
  stored = {k: x for k, x in leaves.items() if _is_stored(x)}
  opened = stored_arrays.open_all(folder, stored)
  return {
    k: opened[k] if k in opened else _in_memory(folder, k, x)
    for k, x in leaves.items()
  }


def _is_stored(leaf: Any) -> bool:
  return isinstance(leaf, stored_arrays.Stored)


def _in_memory(folder: str, name: str, leaf: Any) -> lazy_arrays.LazyArray:
  if not isinstance(leaf, np.ndarray | np.generic | int | float):
    raise ValueError(
      f"{folder}: {name} is {type(leaf).__name__}, due is an array"
    )
  array = lazy_arrays.as_float32(f"{folder}: {name}", np.asarray(leaf))
  return lazy_arrays.in_memory(array)


def _is_adafactor(moments: Mapping[str, Any]) -> bool:
  parents = {}
  for name in names.flatten(moments):
    parent, _, key = name.rpartition("/")
    parents.setdefault(parent, set()).add(key)
  return all(keys == _ADAFACTOR for keys in parents.values())


def _by_parameter(moments: Any) -> dict[str, dict[str, Any]] | None:
  if moments is None:
    return None
  result: dict[str, dict[str, Any]] = {}
  for name, array in names.flatten(moments).items():
    parameter, _, key = name.rpartition("/")
    result.setdefault(parameter, {})[key] = array
  return result


def _step(folder: str, leaf: Any) -> int:
  if _is_stored(leaf):
    leaf = stored_arrays.read_all(folder, {"step": leaf})["step"]
  step = np.asarray(leaf)
  if step.size != 1 or step.dtype.kind not in "iu" or step < 0:
    raise ValueError(f"{folder}: the step is {step!r}, due is one integer")
  return int(step.reshape(()))
