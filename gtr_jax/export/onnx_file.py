"""A graph and its arrays as an .onnx file, large ones beside it."""

import pathlib
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np

from gtr_jax.export import onnx_graph, onnx_nodes
from gtr_jax.files import optional

# The oldest operators and file format that have all of it.
OPSET = 17
_IR_VERSION = 8
# A file of protocol buffers ends at 2 GiB: above this its arrays stand beside.
INLINE_BYTES = 2**30
# So that a reader may map them into its memory, also on Windows.
_ALIGNMENT = 2**16
_SMALL_BYTES = 1024


def write(
  graph: onnx_nodes.Graph,
  outputs: Mapping[str, list[Any]],
  path: pathlib.Path,
) -> None:
  """Writes a model, float32; above a gibibyte with PATH_data beside it.

  Args:
    graph: its nodes and arrays; arrays are fetched one by one.
    outputs: name: shape, of which what is no number is free.
    path: ends with .onnx.
  """
  onnx = optional.load("onnx", "onnx")
  size = sum(array.nbytes for array in graph.read.values())
  if size > INLINE_BYTES:
    with path.with_name(f"{path.name}_data").open("wb") as file:
      tensors = [_tensor(onnx, *item, file) for item in graph.read.items()]
  else:
    tensors = [_tensor(onnx, *item) for item in graph.read.items()]
  integer, real = onnx.TensorProto.INT64, onnx.TensorProto.FLOAT
  value = onnx.helper.make_tensor_value_info
  shape = ["batch", "length"]
  model = onnx.helper.make_model(
    onnx.helper.make_graph(
      graph.nodes,
      "text_encoder",
      [value(name, integer, shape) for name in onnx_graph.INPUTS],
      [value(name, real, dims) for name, dims in outputs.items()],
      tensors,
    ),
    producer_name="gtr_jax",
    opset_imports=[onnx.helper.make_opsetid("", OPSET)],
    ir_version=_IR_VERSION,
  )
  path.write_bytes(model.SerializeToString())


def _tensor(
  onnx: Any, name: str, array: Any, file: BinaryIO | None = None
) -> Any:
  """An array of the graph, its content in `file` if there is one.

  What is small stays in the graph: shapes and axes must be known before files
  are read.
  """
  array = np.asarray(array)
  if not np.issubdtype(array.dtype, np.integer):
    array = np.asarray(array, np.float32)
  if file is None or array.nbytes < _SMALL_BYTES:
    return onnx.numpy_helper.from_array(array, name)
  file.seek(-(-file.tell() // _ALIGNMENT) * _ALIGNMENT)
  tensor = onnx.TensorProto(
    name=name,
    dims=array.shape,
    data_type=onnx.helper.np_dtype_to_tensor_dtype(array.dtype),
    data_location=onnx.TensorProto.EXTERNAL,
  )
  place = {
    "location": pathlib.Path(file.name).name,
    "offset": file.tell(),
    # Its memory as it is: a copy would be half a gigabyte of an XXL's table.
    "length": file.write(np.ascontiguousarray(array).data),
  }
  for key, value in place.items():
    tensor.external_data.add(key=key, value=str(value))
  return tensor
