"""The mesh and the shardings that the rules give."""

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn
from jax.sharding import PartitionSpec

from gtr_jax import partitioning

FSDP = (("embed", "data"),)


def boxed(shape, names):
  value = jax.ShapeDtypeStruct(shape, jnp.float32)
  return nn.LogicallyPartitioned(value, names)


def spec(shape, names, **layout):
  layout = partitioning.Layout(**layout)
  return partitioning.specs(
    boxed(shape, names), layout.mesh(), layout.all_rules()
  )


@pytest.mark.parametrize(
  ("layout", "shape"),
  [
    ({}, (1, 8, 1)),
    ({"model_parallel": 2}, (1, 4, 2)),
    ({"num_slices": 2}, (2, 4, 1)),
    ({"num_slices": 4, "model_parallel": 2}, (4, 1, 2)),
    ({"topology": "cpu:2x4"}, (1, 8, 1)),
    ({"topology": "cpu:4", "num_slices": 2}, (2, 4, 1)),
  ],
)
def test_the_mesh_holds_every_device_once(layout, shape):
  mesh = partitioning.Layout(**layout).mesh()
  assert mesh.devices.shape == shape
  assert mesh.axis_names == ("slice", "data", "model")
  assert set(mesh.devices.flat) == set(jax.devices())


def test_a_slice_is_devices_that_are_neighbours():
  mesh = partitioning.Layout(num_slices=2).mesh()
  assert set(mesh.devices[0].flat) == set(jax.devices()[:4])


@pytest.mark.parametrize(
  ("layout", "said"),
  [
    ({"num_slices": 4, "model_parallel": 4}, "2 devices of a slice"),
    ({"topology": "v5e:4x4"}, "16 devices; here are 8"),
    ({"topology": "v5e:4x"}, "must be a kind and its sizes"),
  ],
)
def test_a_layout_for_other_devices_is_refused(layout, said):
  with pytest.raises(ValueError, match=said):
    partitioning.Layout(**layout).mesh()


def test_parameters_are_spread_as_the_rules_say():
  wi = ((16, 32), ("embed", "mlp"))
  assert spec(*wi) == PartitionSpec(None, "model")
  assert spec(*wi, rules=FSDP) == PartitionSpec("data", "model")
  assert spec(*wi, rules=(("embed", ("slice", "data")),)) == PartitionSpec(
    ("slice", "data"), "model"
  )


def test_what_does_not_divide_stays_whole_and_so_does_a_vector():
  assert spec((12, 32), ("embed", "mlp"), rules=FSDP) == PartitionSpec(
    None, "model"
  )
  assert spec((16,), ("embed",), rules=FSDP) == PartitionSpec(None)
  # Adafactor's row moments, under the names of their matrix.
  assert spec((16,), ("embed", "mlp"), rules=FSDP) == PartitionSpec()


def test_a_share_becomes_the_whole_and_a_wrong_shape_an_error():
  layout = partitioning.Layout(rules=FSDP)
  value = jnp.arange(32.0).reshape(16, 2)
  share = PartitionSpec("data")

  def gather(shape):
    return jax.shard_map(
      lambda x: partitioning.gathered(x, shape, ("embed", "mlp")),
      in_specs=share,
      out_specs=PartitionSpec(None, "data"),
      axis_names=set(partitioning.BATCH_AXES),
    )(value)

  with (
    jax.set_mesh(layout.mesh()),
    nn.logical_axis_rules(layout.all_rules()),
  ):
    # Eight wholes side by side.
    assert (gather((16, 2)) == jnp.tile(value, (1, 8))).all()
    with pytest.raises(ValueError, match=r"due is \(17, 2\)"):
      gather((17, 2))
