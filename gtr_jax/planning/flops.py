"""Operations of matrix products, counted in what JAX traces."""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import jax
import jax.numpy as jnp
from jax.extend import core as jax_core

from gtr_jax.types import Params, TowerName

# (params, tokens int32 [n, L], tower) to embeddings [n, D].
Encode = Callable[[Params, Any, TowerName], Any]


def executed(jaxpr: jax_core.Jaxpr) -> int:
  """Operations of all matrix products, on all devices.

  A product of [m, k] and [k, n] has 2 m n k.  Loops count with their trips; one
  whose trips are unknown counts once, and of branches the costliest.
  """
  return sum(map(_of_equation, jaxpr.eqns))


def of_a_step(encode: Encode, params: Params, batch: Mapping[str, Any]) -> int:
  """Operations that an update needs: nothing twice.

  Three times those of the encoder over all rows (forward, and the gradients of
  activations and of parameters) and of the scores of all queries with all
  passages.

  Args:
    encode: the towers.
    params: shapes of the parameters.
    batch: shapes of a batch, padded or packed; see `types.Batches`.
  """
  total = 0
  for tower in ("query", "passage"):
    rows = batch.get(f"{tower}_rows", batch.get(f"{tower}_tokens"))
    if rows is None:
      raise ValueError(f"a batch without {tower}_rows and {tower}_tokens")
    num_rows = math.prod(rows.shape[:-1])
    total += 3 * num_rows * of_a_row(encode, params, rows.shape[-1], tower)
  num_queries = batch["query_keys"].shape[0]
  num_passages = math.prod(batch["passage_keys"].shape[:2])
  width = jax.eval_shape(
    lambda params: encode(params, _tokens(1, 8), "query"), params
  ).shape[-1]
  return total + 3 * 2 * num_queries * num_passages * width


def of_a_row(
  encode: Encode, params: Params, length: int, tower: TowerName
) -> int:
  """Operations of encoding one row more, forward only."""

  def of(num_rows: int) -> int:
    trace = jax.make_jaxpr(
      lambda params: encode(params, _tokens(num_rows, length), tower)
    )
    return executed(trace(params).jaxpr)

  # What is computed once a batch, such as position biases, drops out.
  return of(2) - of(1)


def _tokens(num_rows: int, length: int) -> jax.Array:
  return jnp.ones((num_rows, length), jnp.int32)


def _of_equation(equation: jax_core.JaxprEqn) -> int:
  if equation.primitive.name == "dot_general":
    return _of_product(equation)
  params = equation.params
  inner = [executed(jaxpr) for jaxpr in _jaxprs(list(params.values()))]
  if not inner:
    return 0
  if equation.primitive.name == "cond":
    return max(inner)
  times = params["length"] if equation.primitive.name == "scan" else 1
  if equation.primitive.name == "shard_map":
    sizes = dict(params["mesh"].shape)  # Shapes inside are a device's own.
    times = math.prod(sizes[axis] for axis in params["newly_manual_axes"])
  return times * sum(inner)


def _of_product(equation: jax_core.JaxprEqn) -> int:
  (contracting, _), _ = equation.params["dimension_numbers"]
  left, result = (
    cast(Any, variable.aval).shape
    for variable in (equation.invars[0], equation.outvars[0])
  )
  depth = math.prod(left[axis] for axis in contracting)
  return 2 * depth * math.prod(result)


def _jaxprs(value: Any) -> Iterator[jax_core.Jaxpr]:
  if isinstance(value, jax_core.ClosedJaxpr):
    yield value.jaxpr
  elif isinstance(value, jax_core.Jaxpr):
    yield value
  elif isinstance(value, list | tuple):
    for item in value:
      yield from _jaxprs(item)
