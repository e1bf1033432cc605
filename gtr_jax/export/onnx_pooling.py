"""The poolings of `layers.pooling` as nodes of an ONNX graph.

All but the maximum are a sum of the tokens' vectors with weights [B, L].
"""

import inspect
from collections.abc import Callable

from gtr_jax.export import onnx_nodes
from gtr_jax.layers import pooling


def pooled(
  graph: onnx_nodes.Graph, pooling_fn: Callable, x: str, member: str
) -> str:
  """One vector a text, float32 [B, E]; zeros for a text without a token.

  Args:
    graph: gets the nodes.
    pooling_fn: of the tower.
    x: vectors of the tokens, float32 [B, L, E].
    member: float32 [B, L], 1 where a token counts, else 0.

  Raises:
    ValueError: a pooling that is none of `layers.pooling`.
  """
  if isinstance(pooling_fn, pooling.Attention):
    return _sum(graph, x, _by_attention(graph, x, member))
  function = inspect.unwrap(pooling_fn)
  if function is inspect.unwrap(pooling.maximum):
    return _maximum(graph, x, member)
  for known, weights in _WEIGHTS.items():
    if function is inspect.unwrap(known):
      return _sum(graph, x, weights(graph, member))
  raise ValueError(
    f"the model's pooling, {getattr(function, '__name__', pooling_fn)}, has no"
    " form for ONNX; export it as stablehlo or as a savedmodel"
  )


def is_mean(pooling_fn: Callable) -> bool:
  return inspect.unwrap(pooling_fn) is inspect.unwrap(pooling.mean)


def _sum(graph: onnx_nodes.Graph, x: str, weights: str) -> str:
  row = graph.node("Unsqueeze", weights, graph.integers(1))  # [B, 1, L]
  return graph.node("Squeeze", graph.node("MatMul", row, x), graph.integers(1))


def _mean(graph: onnx_nodes.Graph, member: str) -> str:
  count = graph.node("ReduceSum", member, graph.integers(1), keepdims=1)
  return graph.node("Div", member, graph.node("Max", count, graph.number(1)))


def _first(graph: onnx_nodes.Graph, member: str, reverse: int = 0) -> str:
  """1 at the first token, or in reverse at the last one."""
  place = graph.node("CumSum", member, graph.integer(1), reverse=reverse)
  found = graph.node("Equal", place, graph.number(1))
  return graph.node("Mul", member, graph.as_float(found))


def _last(graph: onnx_nodes.Graph, member: str) -> str:
  return _first(graph, member, reverse=1)


_WEIGHTS = {pooling.mean: _mean, pooling.first: _first, pooling.last: _last}


def _by_attention(graph: onnx_nodes.Graph, x: str, member: str) -> str:
  logits = graph.node("MatMul", x, graph.array("pooling_fn/query"))  # [B, L]
  logits = graph.node("Add", logits, graph.hidden(member))
  weights = graph.node("Softmax", logits, axis=1)
  return graph.node("Mul", weights, member)  # Of no token, nothing.


def _maximum(graph: onnx_nodes.Graph, x: str, member: str) -> str:
  is_token = graph.node("Greater", member, graph.number(0))
  is_token = graph.node("Unsqueeze", is_token, graph.integers(2))
  tokens = graph.node("Where", is_token, x, graph.number(float("-inf")))
  largest = graph.node("ReduceMax", tokens, axes=[1], keepdims=0)
  count = graph.node("ReduceSum", member, graph.integers(1), keepdims=1)
  some = graph.node("Greater", count, graph.number(0))
  return graph.node("Where", some, largest, graph.number(0))
