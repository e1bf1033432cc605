"""Attention within segments, whose weights are computed again, not kept.

The weights of all layers, [B, H, L, L] each, would be most of what a step
writes to memory.  Only their normalisers are kept, [B, H, L].  A CPU also takes
few rows at a time, so that their weights stay in its cache.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

# Added to logits that do not count: finite, so that no row gives NaN, and far
# below any logit of a float32 softmax.
MASKED = -1e10
# Weights that a CPU's cores hold in their caches, in numbers of four bytes.
_CACHED_WEIGHTS = 2**19


@jax.custom_vjp
def attend(
  query: Float[Array, "B H L F"],
  key: Float[Array, "B H L F"],
  value: Float[Array, "B H L F"],
  bias: Float[Array, "H L L"],
  segments: Int[Array, "B L"],
) -> Float[Array, "B H L F"]:
  """softmax(query @ key + bias) @ value within each segment of a row.

  Not divided by sqrt(F), as in T5.  Logits and softmax are float32 whatever
  the activations.  Gradients are exact; forward mode is not to be had.

  Args:
    bias: of the positions, the same for every row.
    segments: number of the text that a token belongs to; padding, 0, attends
      to padding.

  Source: Raffel et al., 2020, §2.1 (https://arxiv.org/abs/1910.10683); the
    backward pass: Dao et al., 2022, §B.4 (https://arxiv.org/abs/2205.14135).
  """
  return _forward(query, key, value, bias, segments)[0]


class _Rows(NamedTuple):
  """What attention reads of some rows; `hidden` [B, L, L] is 0 or MASKED."""

  query: Array
  key: Array
  value: Array
  hidden: Array


class _Result(NamedTuple):
  """[B, H, L, F], and the logarithms of the normalisers [B, H, L, 1]."""

  mixed: Array
  log_total: Array


def _forward(query, key, value, bias, segments):
  rows = (query, key, value, segments)
  mixed, log_total = jax.lax.platform_dependent(
    *rows, bias, cpu=_forward_in_blocks, default=_forward_at_once
  )
  return mixed, (*rows, bias, mixed, log_total)


def _backward(saved, grad):
  *grads, bias_grad = jax.lax.platform_dependent(
    *saved, grad, cpu=_backward_in_blocks, default=_backward_at_once
  )
  return *grads, bias_grad, None


attend.defvjp(_forward, _backward)


def _forward_at_once(query, key, value, segments, bias):
  return _mix(_Rows(query, key, value, hidden(segments)), bias)


def _backward_at_once(
  query, key, value, segments, bias, mixed, log_total, grad
):
  rows = _Rows(query, key, value, hidden(segments))
  return _gradients(rows, bias, _Result(mixed, log_total), grad)


def _forward_in_blocks(query, key, value, segments, bias):
  rows = _Rows(query, key, value, hidden(segments))

  def step(nothing, block):
    return nothing, _mix(block, bias)

  return _over_blocks(step, (), rows)[1]


def _backward_in_blocks(
  query, key, value, segments, bias, mixed, log_total, grad
):
  rows = _Rows(query, key, value, hidden(segments))

  def step(bias_grad, block):
    *grads, of_bias = _gradients(block[0], bias, *block[1:])
    return bias_grad + of_bias, tuple(grads)

  # Zeros that inside a `shard_map` vary from device to device as the rows do.
  zeros = jnp.zeros_like(bias) + 0 * segments[0, 0]
  inputs = (rows, _Result(mixed, log_total), grad)
  bias_grad, grads = _over_blocks(step, zeros, inputs)
  return *grads, bias_grad


def _over_blocks(step: Callable, carry, rows):
  """`jax.lax.scan` over blocks of rows instead of rows."""
  count, num_heads, length, _ = jax.tree.leaves(rows)[0].shape
  if not (isinstance(count, int) and isinstance(length, int)):
    return step(carry, rows)  # Symbols, of a model that is exported.
  fitting = max(1, _CACHED_WEIGHTS // (num_heads * length**2))
  size = next(n for n in range(min(fitting, count), 0, -1) if count % n == 0)
  if size == count:
    return step(carry, rows)
  blocks = jax.tree.map(lambda x: x.reshape(-1, size, *x.shape[1:]), rows)
  carry, results = jax.lax.scan(step, carry, blocks)
  return carry, jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), results)


def hidden(segments: Int[Array, "B L"]) -> Float[Array, "B L L"]:
  """0 between tokens of one segment, else MASKED."""
  same = segments[:, :, None] == segments[:, None, :]
  return jnp.where(same, 0.0, MASKED)


def _product(equation: str, left: jax.Array, right: jax.Array) -> jax.Array:
  """Sums in float32, of bfloat16 too."""
  dtype = jnp.promote_types(left.dtype, jnp.float32)
  return jnp.einsum(equation, left, right, preferred_element_type=dtype)


def _logits(rows: _Rows, bias: Float[Array, "H L L"]) -> jax.Array:
  products = _product("bhqf,bhkf->bhqk", rows.query, rows.key)
  return products + bias[None] + rows.hidden[:, None]


def _mix(rows: _Rows, bias: Float[Array, "H L L"]) -> _Result:
  logits = _logits(rows, bias)
  largest = logits.max(axis=-1, keepdims=True)
  weights = jnp.exp(logits - largest)
  total = weights.sum(axis=-1, keepdims=True)
  dtype = rows.value.dtype
  mixed = _product("bhqk,bhkf->bhqf", weights.astype(dtype), rows.value) / total
  return _Result(mixed.astype(dtype), largest + jnp.log(total))


def _gradients(
  rows: _Rows, bias: Float[Array, "H L L"], result: _Result, grad: jax.Array
) -> tuple[jax.Array, ...]:
  """Of query, key and value [B, H, L, F] and of bias [H, L, L]."""
  query, key, value, _ = rows
  weights = jnp.exp(_logits(rows, bias) - result.log_total)
  of_weights = _product("bhqf,bhkf->bhqk", grad, value)
  mean = jnp.sum(
    (grad * result.mixed).astype(of_weights.dtype), axis=-1, keepdims=True
  )
  of_logits = weights * (of_weights - mean)  # [B, H, L, L]
  low = of_logits.astype(query.dtype)
  return (
    _product("bhqk,bhkf->bhqf", low, key).astype(query.dtype),
    _product("bhqk,bhqf->bhkf", low, query).astype(key.dtype),
    _product("bhqk,bhqf->bhkf", weights.astype(grad.dtype), grad).astype(
      value.dtype
    ),
    of_logits.sum(axis=0).astype(bias.dtype),
  )
