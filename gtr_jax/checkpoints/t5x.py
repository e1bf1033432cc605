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
import msgpack
import numpy as np
import tensorstore

from gtr_jax.checkpoints import names

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
    params: nested dict of float32 arrays under T5X names; an encoder-decoder's
      `decoder` is in it as well.
    optimizer_state: of Adafactor, by flat parameter name, a dict of the float32
      arrays m, v, v_row, v_col ([1] where Adafactor does without); None if the
      checkpoint holds none, or another optimizer's.
  """

  step: int
  params: dict[str, Any]
  optimizer_state: dict[str, dict[str, np.ndarray]] | None


@dataclasses.dataclass(frozen=True)
class _Stored:
  """An array in a store: `key` is its folder's name, `shape` if it is known."""

  key: str
  shape: tuple[int, ...] | None = None
  driver: str = "zarr"
  ocdbt: bool = False


def read_t5x(
  path: str | os.PathLike[str], with_optimizer_state: bool = True
) -> T5XCheckpoint:
  """Reads a checkpoint of T5X: `params` float32, under T5X names.

  Args:
    path: a checkpoint's directory, or a directory with checkpoint_N in it, of
      which the newest is read; local or gs://bucket/...
    with_optimizer_state: False does not read it, and gives None.

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
  moments = state.get("param_states") if with_optimizer_state else None
  wanted = {"target": target, "step": state.get("step", tree.get("step"))}
  if isinstance(moments, Mapping) and _is_adafactor(moments):
    wanted["param_states"] = moments
  if wanted["step"] is None:
    raise ValueError(f"{root}: the checkpoint does not say its step")
  arrays = names.unflatten(_read_arrays(folder, names.flatten(wanted)))
  return T5XCheckpoint(
    step=_step(root, arrays["step"]),
    params=arrays["target"],
    optimizer_state=_by_parameter(arrays.get("param_states")),
  )


def _checkpoint_folder(path: str) -> str:
  """`path` itself if it is a checkpoint, else its newest checkpoint_N."""
  if "://" not in path and not pathlib.Path(path).is_dir():
    raise ValueError(f"{path}: no such directory; due is a T5X checkpoint")
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
  keys = tensorstore.KvStore.open(_kvstore(path)).result().list().result()
  return {key.decode().split("/")[0] for key in keys}


def _kvstore(folder: str) -> dict[str, Any]:
  """TensorStore's specification of a folder; every folder ends with "/"."""
  if folder.startswith("gs://"):
    bucket, _, path = folder.removeprefix("gs://").partition("/")
    return {"driver": "gcs", "bucket": bucket, "path": f"{path}/"}
  if "://" in folder:
    raise ValueError(f"{folder}: due is a local path or gs://bucket/path")
  return {"driver": "file", "path": f"{os.path.abspath(folder)}/"}


def _read_file(folder: str, name: str) -> bytes | None:
  store = tensorstore.KvStore.open(_kvstore(folder)).result()
  found = store.read(name).result()
  return found.value if found.state == "value" else None


def _index(root: str) -> tuple[str, dict[str, Any]]:
  """The folder of the arrays, and the tree: leaves are arrays or `_Stored`."""
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
  try:
    tree = _with_stored(flax.serialization.msgpack_restore(index), ocdbt)
  except (*_MALFORMED, msgpack.UnpackException) as error:
    raise ValueError(
      f"{path}: broken or cut, {len(index)} bytes are no T5X index ({error!r})"
    ) from error
  if not isinstance(tree, dict):
    raise ValueError(f"{path}: no T5X index, due is a tree of arrays")
  return tree


def _with_stored(node: Any, ocdbt: bool) -> Any:
  """The msgpack tree, with `_Stored` where it names an array elsewhere."""
  if isinstance(node, str) and node.startswith(_PLACEHOLDER):
    return _Stored(node.removeprefix(_PLACEHOLDER), ocdbt=ocdbt)
  if not isinstance(node, Mapping):
    return node
  if "driver" in node and "kvstore" in node:
    # The path may still name the place where the checkpoint was written, so
    # only its last part, the array's folder, counts.
    path = node.get("path") or node["kvstore"]["path"]
    shape = node.get("metadata", {}).get("shape")
    return _Stored(
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
      f"{path}: broken or cut, no description of arrays ({error!r})"
    ) from error


def _orbax_leaves(index: Mapping[str, Any]) -> dict[str, _Stored]:
  driver = "zarr3" if index.get("use_zarr3") else "zarr"
  # Files from before this entry existed were all written with OCDBT.
  ocdbt = index.get("use_ocdbt", True)
  leaves = {}
  for entry in index["tree_metadata"].values():
    keys = [str(key["key"]) for key in entry["key_metadata"]]
    value = entry["value_metadata"]
    if not value.get("skip_deserialize"):
      shape = value.get("write_shape")
      shape = None if shape is None else tuple(shape)
      leaves["/".join(keys)] = _Stored(".".join(keys), shape, driver, ocdbt)
  return leaves


def _read_arrays(
  folder: str, leaves: Mapping[str, Any]
) -> dict[str, np.ndarray]:
  """All arrays, read at the same time; floats of any width become float32."""
  stored = {k: x for k, x in leaves.items() if isinstance(x, _Stored)}
  with concurrent.futures.ThreadPoolExecutor(16) as pool:
    futures = {
      k: pool.submit(_read_array, folder, x) for k, x in stored.items()
    }
    arrays = {k: future.result() for k, future in futures.items()}
  return {
    k: _as_float32(folder, k, arrays.get(k, x)) for k, x in leaves.items()
  }


def _read_array(folder: str, stored: _Stored) -> np.ndarray:
  base, path = _kvstore(folder), f"{stored.key}/"
  if stored.ocdbt:
    kvstore = {"driver": "ocdbt", "base": base, "path": path}
  else:
    kvstore = {**base, "path": base["path"] + path}
  spec: dict[str, Any] = {"driver": stored.driver, "kvstore": kvstore}
  # Otherwise a lost piece of an array would silently read as zeros.
  spec["fill_missing_data_reads"] = False
  try:
    array = tensorstore.open(spec, open=True).result().read().result()
  except (ValueError, OSError, NotImplementedError) as error:
    raise ValueError(
      f"{folder}: array {stored.key} is missing, cut or broken ({error})"
    ) from error
  if stored.shape is not None and array.shape != stored.shape:
    raise ValueError(
      f"{folder}: array {stored.key} is {array.shape}, its index says "
      f"{stored.shape}"
    )
  return array


def _as_float32(folder: str, name: str, leaf: Any) -> np.ndarray:
  if not isinstance(leaf, np.ndarray | np.generic | int | float):
    raise ValueError(
      f"{folder}: {name} is {type(leaf).__name__}, due is an array"
    )
  array = np.asarray(leaf)
  if name == "step":
    return array
  return array.astype(np.float32, copy=False)


def _is_adafactor(moments: Mapping[str, Any]) -> bool:
  parents = {}
  for name in names.flatten(moments):
    parent, _, key = name.rpartition("/")
    parents.setdefault(parent, set()).add(key)
  return all(keys == _ADAFACTOR for keys in parents.values())


def _by_parameter(moments: Any) -> dict[str, dict[str, np.ndarray]] | None:
  if moments is None:
    return None
  result: dict[str, dict[str, np.ndarray]] = {}
  for name, array in names.flatten(moments).items():
    parameter, _, key = name.rpartition("/")
    result.setdefault(parameter, {})[key] = array
  return result


def _step(root: str, step: np.ndarray) -> int:
  if step.size != 1 or not np.issubdtype(step.dtype, np.integer) or step < 0:
    raise ValueError(f"{root}: the step is {step!r}, due is one integer")
  return int(step.reshape(()))
