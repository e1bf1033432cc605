"""Arrays in TensorStore's formats, local or on gs://, read part by part."""

import concurrent.futures
import dataclasses
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorstore

from gtr_jax.checkpoints import lazy_arrays

# TensorStore's own go on for a quarter of an hour where there is no network.
_RETRIES = {"max_retries": 4, "initial_delay": "1s", "max_delay": "8s"}
# What TensorStore raises of a file that is not what it should be, or not there.
BROKEN = (ValueError, OSError, NotImplementedError)


@dataclasses.dataclass(frozen=True)
class Stored:
  """An array in a store.

  Attributes:
    key: its folder's name.
    shape: if it is known.
    written: the shape of the parts in which several devices wrote it, if known.
    driver: zarr, or zarr3.
    ocdbt: whether all arrays are in one key-value store.
  """

  key: str
  shape: tuple[int, ...] | None = None
  driver: str = "zarr"
  ocdbt: bool = False
  written: tuple[int, ...] | None = None


def kvstore(folder: str) -> dict[str, Any]:
  """TensorStore's specification of a folder; every folder ends with "/".

  Raises:
    ValueError: an address that is neither a path nor gs://.
  """
  if folder.startswith("gs://"):
    bucket, _, path = folder.removeprefix("gs://").partition("/")
    return {
      "driver": "gcs",
      "bucket": bucket,
      "path": f"{path}/",
      "gcs_request_retries": _RETRIES,
    }
  if "://" in folder:
    raise ValueError(f"{folder}: due is a local path or gs://bucket/path")
  return {"driver": "file", "path": f"{os.path.abspath(folder)}/"}


def open_all(
  folder: str, stored: Mapping[str, Stored]
) -> dict[str, lazy_arrays.LazyArray]:
  """Opens arrays, many at the same time; their numbers stay where they are.

  Raises:
    ValueError: one is missing or broken, has another shape than its index
      says, or holds no floats.
  """
  with concurrent.futures.ThreadPoolExecutor(16) as pool:
    futures = {k: pool.submit(_open, folder, x) for k, x in stored.items()}
    return {k: future.result() for k, future in futures.items()}


def read_all(
  folder: str, stored: Mapping[str, Stored]
) -> dict[str, np.ndarray]:
  """Reads arrays whole, many at the same time, in their own types.

  Raises:
    ValueError: one is missing, cut or broken.
  """
  with concurrent.futures.ThreadPoolExecutor(16) as pool:
    futures = {
      k: pool.submit(lambda x=x: _read(folder, x.key, _store(folder, x)))
      for k, x in stored.items()
    }
    return {k: future.result() for k, future in futures.items()}


def _open(folder: str, stored: Stored) -> lazy_arrays.LazyArray:
  store = _store(folder, stored)
  name = f"{folder}: array {stored.key}"
  # Refuses a type that is no float before anything is read.
  lazy_arrays.as_float32(name, np.empty(0, store.dtype.numpy_dtype))
  chunk = store.chunk_layout.read_chunk.shape
  return lazy_arrays.LazyArray(
    tuple(store.shape),
    lambda part: lazy_arrays.as_float32(
      name, _read(folder, stored.key, store[part])
    ),
    tuple(map(min, chunk, store.shape)),
  )


def _store(folder: str, stored: Stored) -> Any:
  base, path = kvstore(folder), f"{stored.key}/"
  if stored.ocdbt:
    place = {"driver": "ocdbt", "base": base, "path": path}
  else:
    place = {**base, "path": base["path"] + path}
  spec = {
    "driver": stored.driver,
    "kvstore": place,
    # Otherwise a lost piece of an array would silently read as zeros.
    "fill_missing_data_reads": False,
  }
  try:
    store = tensorstore.open(spec, open=True, read=True).result()
  except BROKEN as error:
    raise _broken(folder, stored.key, error) from None
  name = f"{folder}: array {stored.key} is {tuple(store.shape)}"
  if stored.shape is not None and tuple(store.shape) != stored.shape:
    raise ValueError(f"{name}, its index says {stored.shape}")
  if stored.written is not None and not _divides(stored.written, store.shape):
    raise ValueError(f"{name}, its index says parts of {stored.written}")
  return store


def _divides(part: tuple[int, ...], whole: tuple[int, ...]) -> bool:
  return len(part) == len(whole) and all(
    size % step == 0 if step else size == 0
    for step, size in zip(part, whole, strict=True)
  )


def _read(folder: str, key: str, store: Any) -> np.ndarray:
  try:
    return np.asarray(store.read().result())
  except BROKEN as error:
    raise _broken(folder, key, error) from None


def _broken(folder: str, key: str, error: Exception) -> ValueError:
  reason = " ".join(str(error).split())
  return ValueError(
    f"{folder}: array {key} is missing, cut or broken ({reason:.300})"
  )
