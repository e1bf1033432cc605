"""A checkpoint of arrays that nobody holds: read and written block by block.

The result is what `manager.Checkpoints.save` writes, an Orbax step of NumPy
arrays; but no array is ever in memory whole, let alone the model.
"""

import errno
import os
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

import jax
import numpy as np
import orbax.checkpoint as ocp
import tensorstore

from gtr_jax.checkpoints import lazy_arrays, manager, names


def save(
  model_dir: str | pathlib.Path,
  step: int,
  arrays: Mapping[str, lazy_arrays.LazyArray],
) -> None:
  """Writes one step of parameters, float32; returns when it is on disk.

  Args:
    model_dir: its `checkpoints` gets the step.
    step: number of updates made.
    arrays: by flat names; each is read once.

  Raises:
    ValueError: from reading an array; then there is no such step.
    OSError: the disk is full; likewise.
  """
  registry = ocp.handlers.DefaultCheckpointHandlerRegistry()
  lazy = ocp.type_handlers.create_type_handler_registry(
    (lazy_arrays.LazyArray, _Handler())
  )
  handler = ocp.PyTreeCheckpointHandler(type_handler_registry=lazy)
  registry.add("params", ocp.args.PyTreeSave, cast(Any, handler))
  registry.add("progress", ocp.args.JsonSave)
  directory = pathlib.Path(model_dir).absolute() / manager.DIRECTORY
  options = ocp.CheckpointManagerOptions(enable_async_checkpointing=False)
  with ocp.CheckpointManager(
    directory, options=options, handler_registry=registry
  ) as checkpoints:
    checkpoints.save(
      step,
      args=ocp.args.Composite(
        params=ocp.args.PyTreeSave(names.unflatten(arrays)),
        progress=ocp.args.JsonSave({"measure": manager.MEASURE}),
      ),
    )


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)
_OS_ERROR = re.compile(r"os_error_code='(\d+)'")


class _Handler(ocp.type_handlers.NumpyHandler):
  """Orbax's for NumPy arrays, with another way to write."""

  async def serialize(
    self,
    values: Sequence[Any],
    infos: Sequence[ocp.type_handlers.ParamInfo],
    args: Sequence[ocp.SaveArgs] | None = None,
  ) -> list[Any]:
    del args
    for array, info in zip(values, infos, strict=True):
      await info.await_path_creation()
      spec = ocp.type_handlers.get_json_tspec_write(
        info,
        use_ocdbt=bool(info.is_ocdbt_checkpoint),
        global_shape=array.shape,
        local_shape=array.shape,
        dtype=np.dtype(np.float32),
        process_index=jax.process_index(),
      )
      spec["metadata"]["chunks"] = list(array.block)
      try:
        await _write(array, spec, info.ts_context)
      except ValueError as error:
        raise _of_the_disk(error) from None
    return []


async def _write(
  array: lazy_arrays.LazyArray, spec: dict[str, Any], context: Any
) -> None:
  store = await tensorstore.open(
    tensorstore.Spec(spec), create=True, context=context
  )
  # One after the other: each is on disk before the next one is read.
  for part in array.parts():
    await store[part].write(array[part])


def _of_the_disk(error: ValueError) -> Exception:
  """A full disk in its own words, not in TensorStore's; else the error."""
  found = _OS_ERROR.search(str(error))
  code = int(found[1]) if found else 0
  return OSError(code, os.strerror(code)) if code in _FULL else error
