"""A tower as an ONNX graph, written node by node.

T5's encoder is twenty kinds of nodes.  Written down, not traced, the graph has
free rows and a free length by construction, and arrays under T5X's names.
"""

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gtr_jax.export import onnx_nodes, onnx_pooling
from gtr_jax.layers import mlp, relative_position
from gtr_jax.models import t5_encoder, text_encoder

INPUTS = ("input_ids", "attention_mask")
TOKENS_OUTPUT = "last_hidden_state"
TEXT_OUTPUT = "sentence_embedding"
_EPSILON = 1e-6


def of_tower(
  tower: text_encoder.TextEncoder, arrays: Mapping[str, Any]
) -> tuple[onnx_nodes.Graph, dict[str, list[Any]]]:
  """The graph and the shapes of its outputs.

  `sentence_embedding` is the tower's.  `last_hidden_state`, where the pooling
  is the mean, is the tokens' vectors times the projection: their mean, divided
  by its length, is the same embedding, since a mean and a matrix commute.  It
  is for software that pools by itself.

  Args:
    tower: its sizes.
    arrays: its arrays, by the names that a shared tower's have.

  Raises:
    ValueError: an activation or a pooling that has no form here.
  """
  graph = onnx_nodes.Graph(arrays)
  member = _member(graph)
  x = _encoded(graph, tower.encoder, member)
  projection = graph.array("projection_layer/kernel")
  outputs: dict[str, list[Any]] = {}
  if onnx_pooling.is_mean(tower.pooling_fn):
    graph.node("MatMul", x, projection, name=TOKENS_OUTPUT)
    outputs[TOKENS_OUTPUT] = ["batch", "length", tower.projection_dim]
  pooled = onnx_pooling.pooled(graph, tower.pooling_fn, x, member)
  _unit_length(graph, graph.node("MatMul", pooled, projection))
  outputs[TEXT_OUTPUT] = ["batch", tower.projection_dim]
  return graph, outputs


def _member(graph: onnx_nodes.Graph) -> str:
  """1 where the mask shows what is no padding, else 0: [B, L]."""
  ids, mask = INPUTS
  zero = graph.integer(0)
  shown = graph.node("Greater", mask, zero)
  is_token = graph.node("Greater", ids, zero)
  return graph.as_float(graph.node("And", shown, is_token))


def _unit_length(graph: onnx_nodes.Graph, x: str) -> None:
  square = graph.node("Mul", x, x)
  total = graph.node("ReduceSum", square, graph.integers(1), keepdims=1)
  total = graph.node("Add", total, graph.number(_EPSILON))
  graph.node("Div", x, graph.node("Sqrt", total), name=TEXT_OUTPUT)


def _encoded(
  graph: onnx_nodes.Graph, encoder: t5_encoder.T5Encoder, member: str
) -> str:
  """The vectors of the tokens in context [B, L, E]."""
  table = graph.array("token_embedder/embedding")
  x = graph.node("Gather", table, INPUTS[0])
  hidden = graph.node("Unsqueeze", graph.hidden(member), graph.integers(1, 2))
  bias = graph.node("Add", _position_bias(graph, encoder), hidden)
  for number in range(encoder.num_layers):
    layer = f"encoder/layers_{number}"
    normed = _norm(graph, x, f"{layer}/pre_attention_layer_norm")
    mixed = _attention(graph, encoder, normed, bias, f"{layer}/attention")
    x = graph.node("Add", x, mixed)
    normed = _norm(graph, x, f"{layer}/pre_mlp_layer_norm")
    x = graph.node("Add", x, _mlp(graph, encoder, normed, f"{layer}/mlp"))
  return _norm(graph, x, "encoder/encoder_norm")


def _position_bias(
  graph: onnx_nodes.Graph, encoder: t5_encoder.T5Encoder
) -> str:
  """[H, L, L], looked up by the distance of key and query."""
  most = encoder.relative_attention_max_distance
  one_way = encoder.relative_attention_num_buckets // 2
  ahead = np.arange(-most, most + 1)
  buckets = relative_position.distance_buckets(one_way, most)[np.abs(ahead)]
  buckets = np.where(ahead > 0, one_way, 0) + buckets
  table = np.asarray(graph.arrays["encoder/relpos_bias/rel_embedding"])
  table = graph.constant("bias_of_distance", table[:, buckets])
  shape = graph.node("Shape", INPUTS[0])
  length = graph.node("Gather", shape, graph.integer(1))
  place = graph.node("Range", graph.integer(0), length, graph.integer(1))
  distance = graph.node(
    "Sub",
    graph.node("Unsqueeze", place, graph.integers(0)),
    graph.node("Unsqueeze", place, graph.integers(1)),
  )
  far = graph.integer(most)
  distance = graph.node("Max", distance, graph.integer(-most))
  distance = graph.node("Min", distance, far)
  return graph.node("Gather", table, graph.node("Add", distance, far), axis=1)


def _norm(graph: onnx_nodes.Graph, x: str, name: str) -> str:
  # In these nodes onnxruntime sees a norm, and runs it as one.
  square = graph.node("Pow", x, graph.number(2))
  mean = graph.node("ReduceMean", square, axes=[-1], keepdims=1)
  root = graph.node("Sqrt", graph.node("Add", mean, graph.number(_EPSILON)))
  scale = graph.array(f"{name}/scale")
  return graph.node("Mul", graph.node("Div", x, root), scale)


def _attention(
  graph: onnx_nodes.Graph,
  encoder: t5_encoder.T5Encoder,
  x: str,
  bias: str,
  name: str,
) -> str:
  # 0 keeps what is there: rows and length.
  split = graph.integers(0, 0, encoder.num_heads, encoder.head_dim)
  joined = graph.integers(0, 0, encoder.num_heads * encoder.head_dim)

  def heads(part: str, order: list[int]) -> str:
    x_part = graph.node("MatMul", x, graph.array(f"{name}/{part}/kernel"))
    return graph.node(
      "Transpose", graph.node("Reshape", x_part, split), perm=order
    )

  query = heads("query", [0, 2, 1, 3])  # [B, H, L, F]
  key = heads("key", [0, 2, 3, 1])  # [B, H, F, L]
  value = heads("value", [0, 2, 1, 3])
  logits = graph.node("Add", graph.node("MatMul", query, key), bias)
  weights = graph.node("Softmax", logits, axis=-1)
  mixed = graph.node("MatMul", weights, value)
  mixed = graph.node("Transpose", mixed, perm=[0, 2, 1, 3])
  mixed = graph.node("Reshape", mixed, joined)
  return graph.node("MatMul", mixed, graph.array(f"{name}/out/kernel"))


def _mlp(
  graph: onnx_nodes.Graph, encoder: t5_encoder.T5Encoder, x: str, name: str
) -> str:
  single = len(encoder.activations) == 1
  hidden = ""
  for number, activation in enumerate(encoder.activations):
    kernel = graph.array(f"{name}/{'wi' if single else f'wi_{number}'}/kernel")
    wide = _activated(graph, activation, graph.node("MatMul", x, kernel))
    hidden = graph.node("Mul", hidden, wide) if hidden else wide
  return graph.node("MatMul", hidden, graph.array(f"{name}/wo/kernel"))


def _activated(graph: onnx_nodes.Graph, activation: Callable, x: str) -> str:
  function = inspect.unwrap(activation)
  if function is inspect.unwrap(mlp.relu):
    return graph.node("Relu", x)
  if function is inspect.unwrap(mlp.linear_gate):
    return x
  if function is inspect.unwrap(mlp.gelu_gate):
    return _gelu(graph, x)
  raise ValueError(
    "the MLP's activations are neither T5 1.0's (relu) nor T5 1.1's (gelu_gate,"
    " linear_gate), which is all that has a form for ONNX; export it as"
    " stablehlo or as a savedmodel"
  )


def _gelu(graph: onnx_nodes.Graph, x: str) -> str:
  """x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3)))."""
  cube = graph.node("Pow", x, graph.number(3))
  inner = graph.node("Mul", cube, graph.number(0.044715))
  inner = graph.node("Add", x, inner)
  factor = graph.constant("sqrt_2_pi", np.float32(math.sqrt(2 / math.pi)))
  inner = graph.node("Tanh", graph.node("Mul", inner, factor))
  inner = graph.node("Add", inner, graph.number(1))
  return graph.node("Mul", graph.node("Mul", x, graph.number(0.5)), inner)
