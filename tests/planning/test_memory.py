"""The compiler's words for too much, and shares of arrays."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from gtr_jax.planning import memory


@pytest.mark.parametrize(
  ("message", "used", "limit"),
  [
    (
      "RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of memory"
      " in memory space hbm. Used 21.95G of 15.48G hbm. Exceeded hbm capacity"
      " by 6.47G.\n\nTotal hbm usage >= 22.47G:\n    reserved 530.00M",
      21.95,
      15.48,
    ),
    (
      "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required"
      " for HLO temporaries (1.50T) exceeds available HBM (15.75G).",
      1536,
      15.75,
    ),
    ("Used 900.00M of 0.50G hbm.", 900 / 1024, 0.5),
  ],
)
def test_refusals_are_read(message, used, limit):
  found = memory.parse_refusal(message)
  assert found == pytest.approx((used * 2**30, limit * 2**30), abs=1)


def test_other_failures_are_no_refusal():
  assert memory.parse_refusal("INTERNAL: Mosaic failed to compile") is None


def test_a_share_is_what_one_device_holds(mesh):
  def leaf(shape, dtype, *spec):
    sharding = NamedSharding(mesh, PartitionSpec(*spec))
    return jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)

  axis = next(name for name, size in mesh.shape.items() if size == 8)
  tree = {
    "shared": leaf((16, 4), jnp.float32, axis),
    "whole": leaf((3,), jnp.bfloat16),
  }
  assert memory.share_bytes(tree) == 16 * 4 * 4 // 8 + 3 * 2


def test_kinds_add_up_to_the_total(mesh):
  axis = next(name for name, size in mesh.shape.items() if size == 8)
  rows = NamedSharding(mesh, PartitionSpec(axis))
  whole = NamedSharding(mesh, PartitionSpec())
  params = jax.ShapeDtypeStruct((64, 32), jnp.float32, sharding=whole)
  batch = jax.ShapeDtypeStruct((80, 64), jnp.float32, sharding=rows)
  step = jax.jit(lambda w, x: jnp.tanh(x @ w).sum())
  compiled = step.lower(params, batch).compile()
  found = memory.of_program(compiled, params, (), batch)
  assert (found.parameters, found.optimizer) == (64 * 32 * 4, 0)
  assert found.batch == 80 * 64 * 4 // 8
  kinds = vars(found)
  assert kinds.pop("total") == sum(kinds.values())


def test_a_refusal_leaves_the_rest_to_temporaries(mesh):
  whole = NamedSharding(mesh, PartitionSpec())
  params = jax.ShapeDtypeStruct((100,), jnp.float32, sharding=whole)
  found = memory.refused(10_000, params, (), ())
  assert (found.parameters, found.temporaries, found.total) == (
    400,
    9_600,
    10_000,
  )
