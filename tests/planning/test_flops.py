"""Operations against the formulas of the layers."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import PartitionSpec

from gtr_jax.models import dual_encoder, t5_encoder, text_encoder
from gtr_jax.planning import flops

E, H, F, M, L, D, LAYERS = 16, 2, 8, 32, 12, 24, 3


def executed(function, *args):
  return flops.executed(jax.make_jaxpr(function)(*args).jaxpr)


def matrix(*shape):
  return jax.ShapeDtypeStruct(shape, jnp.float32)


def test_a_product_is_two_operations_a_cell_and_depth():
  assert executed(jnp.matmul, matrix(3, 4), matrix(4, 5)) == 2 * 3 * 4 * 5


def test_a_batched_product():
  einsum = lambda a, b: jnp.einsum("bqhd,bkhd->bhqk", a, b)
  assert executed(einsum, matrix(2, 3, 4, 5), matrix(2, 7, 4, 5)) == (
    2 * 2 * 4 * 3 * 7 * 5
  )


def test_loops_multiply_and_branches_do_not_add():
  def loop(x):
    return jax.lax.scan(lambda c, _: (c @ c, None), x, length=6)[0]

  def branch(x):
    return jax.lax.cond(True, lambda x: x @ x, lambda x: x @ x @ x, x)

  assert executed(loop, matrix(4, 4)) == 6 * 2 * 4**3
  assert executed(branch, matrix(4, 4)) == 2 * 2 * 4**3


def test_inside_a_shard_map_all_devices_count(mesh):
  axis = next(name for name, size in mesh.shape.items() if size == 8)
  product = jax.shard_map(
    lambda x, w: x @ w,
    in_specs=(PartitionSpec(axis), PartitionSpec()),
    out_specs=PartitionSpec(axis),
    axis_names={axis},
  )
  with jax.set_mesh(mesh):
    assert executed(product, matrix(16, 4), matrix(4, 5)) == 2 * 16 * 4 * 5


def test_gradient_is_three_times_and_a_recomputation_four():
  loss = lambda w, x: jnp.tanh(x @ w).sum()
  again = jax.checkpoint(loss, policy=None)
  args = matrix(4, 5), matrix(3, 4)
  one = 2 * 3 * 4 * 5
  assert executed(jax.value_and_grad(loss, (0, 1)), *args) == 3 * one
  assert executed(jax.value_and_grad(again, (0, 1)), *args) == 4 * one


@pytest.fixture
def encode_and_params():
  model = dual_encoder.DualEncoder(
    text_encoder.TextEncoder(
      t5_encoder.T5Encoder(LAYERS, H, F, M), 50, E, projection_dim=D
    )
  )
  tokens = jnp.ones((1, L), jnp.int32)
  init = lambda: model.init(jax.random.key(0), tokens, tokens)["params"]
  params = jax.eval_shape(init)

  def encode(params, tokens, tower):
    return dual_encoder.encode(model, params, tokens, tower)

  return encode, params


def row(length):
  """Forward operations of one text, by the formulas of T5."""
  attention = 4 * 2 * length * E * H * F + 2 * 2 * length**2 * H * F
  mlp = 2 * 2 * length * E * M
  pooling = 2 * length * E
  return LAYERS * (attention + mlp) + pooling + 2 * E * D


def test_a_row_costs_its_products(encode_and_params):
  encode, params = encode_and_params
  assert flops.of_a_row(encode, params, L, "passage") == row(L)


def test_a_step_is_three_times_rows_and_scores(encode_and_params):
  encode, params = encode_and_params
  batch = {
    "query_tokens": matrix(8, 4),
    "passage_tokens": matrix(8, 3, L),
    "query_keys": matrix(8, 2),
    "passage_keys": matrix(8, 3, 2),
  }
  assert flops.of_a_step(encode, params, batch) == 3 * (
    8 * row(4) + 24 * row(L) + 2 * 8 * 24 * D
  )


def test_packed_rows_cost_what_rows_cost(encode_and_params):
  encode, params = encode_and_params
  batch = {
    "query_rows": matrix(2, 16),
    "passage_rows": matrix(5, L),
    "query_keys": matrix(8, 2),
    "passage_keys": matrix(8, 3, 2),
  }
  assert flops.of_a_step(encode, params, batch) == 3 * (
    2 * row(16) + 5 * row(L) + 2 * 8 * 24 * D
  )
