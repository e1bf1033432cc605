"""Nodes of an ONNX graph, one call each, and the arrays that they read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gtr_jax.files import optional
from gtr_jax.layers import attention_core

# ONNX's number for float32.
_FLOAT = 1


@dataclass(frozen=True)
class Graph:
  """A graph that grows.

  Attributes:
    arrays: that nodes may read, by name.
    nodes: so far, each behind those whose results it reads.
    read: the arrays that are read, among them the graph's own constants.
  """

  arrays: Mapping[str, Any]
  nodes: list[Any] = field(default_factory=list)
  read: dict[str, Any] = field(default_factory=dict)

  def node(
    self, kind: str, *inputs: str, name: str = "", **settings: Any
  ) -> str:
    """Adds a node of one result.

    Args:
      kind: of ONNX's operators.
      inputs: names of results, arrays or inputs of the graph.
      name: of the result; by default kind and number.
      settings: the operator's attributes.

    Returns:
      The name of the result.
    """
    helper = optional.load("onnx.helper", "onnx")
    name = name or f"{kind}_{len(self.nodes)}"
    node = helper.make_node(kind, inputs, [name], name=name, **settings)
    self.nodes.append(node)
    return name

  def array(self, name: str) -> str:
    """One of `arrays`, to be read by a node."""
    return self.constant(name, self.arrays[name])

  def constant(self, name: str, value: Any) -> str:
    """An array of the graph's own; one name is one value."""
    self.read[name] = value
    return name

  def number(self, value: float) -> str:
    """A float32."""
    return self.constant(f"float_{value:g}", np.float32(value))

  def integer(self, value: int) -> str:
    """An int64."""
    return self.constant(f"int_{value}", np.int64(value))

  def integers(self, *values: int) -> str:
    """Int64 in a list: axes, shapes."""
    name = "_".join(["ints", *map(str, values)])
    return self.constant(name, np.array(values, np.int64))

  def as_float(self, name: str) -> str:
    return self.node("Cast", name, to=_FLOAT)

  def hidden(self, member: str) -> str:
    """From 1 and 0 to what is added to logits: 0 and `MASKED`."""
    lacking = self.node("Sub", self.number(1), member)
    return self.node("Mul", lacking, self.number(attention_core.MASKED))
