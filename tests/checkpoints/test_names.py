import flax.struct
import jax
import numpy as np
import pytest
from flax import linen as nn

from gtr_jax.checkpoints import names

TREE = {
  "encoder": {"layers_0": {"kernel": np.ones((2, 3)), "scale": np.ones(2)}},
  "projection_layer": {"kernel": np.zeros((3, 4))},
}


def test_flat_and_back_loses_nothing():
  flat = names.flatten(TREE)
  assert list(flat) == [
    "encoder/layers_0/kernel",
    "encoder/layers_0/scale",
    "projection_layer/kernel",
  ]
  back = names.unflatten(flat)
  assert jax.tree.structure(back) == jax.tree.structure(TREE)
  assert all(map(lambda x, y: x is y, *map(jax.tree.leaves, (back, TREE))))


def test_nothing_is_a_tree_too():
  assert names.flatten({}) == {} == names.unflatten({})


@pytest.mark.parametrize(
  "tree", [{"a": {"b/c": 1}}, {"a": {}}, {"a": {1: 2}}, {"": 1}]
)
def test_a_tree_that_would_not_come_back_is_refused(tree):
  with pytest.raises(ValueError, match="parameter"):
    names.flatten(tree)


@pytest.mark.parametrize(
  "flat", [{"a": 1, "a/b": 2}, {"a/b": 2, "a": 1}, {"a//b": 1}, {"a/": 1}]
)
def test_a_name_that_is_no_place_in_a_tree_is_refused(flat):
  with pytest.raises(ValueError, match="array and a group|empty part"):
    names.unflatten(flat)


def test_path_names_are_flat_names_with_boxes_or_without():
  boxed = jax.tree.map(
    lambda x: nn.LogicallyPartitioned(x, (None,) * x.ndim), TREE
  )
  for tree in (TREE, boxed):
    found = [
      names.path_name(path)
      for path, _ in jax.tree_util.tree_leaves_with_path(tree)
    ]
    assert found == sorted(names.flatten(TREE))


def test_path_names_leave_out_attributes():
  @flax.struct.dataclass
  class Holder:
    value: dict

  leaves = jax.tree_util.tree_leaves_with_path(Holder({"a": {"b": 1}}))
  assert [names.path_name(path) for path, _ in leaves] == ["a/b"]


def test_compare_tells_unused_and_missing():
  shape = jax.ShapeDtypeStruct((2, 3), np.float32)
  differences = names.compare(
    {"both": shape, "due": shape, "also_due": (4,)},
    {"both": np.ones((2, 3)), "extra": np.ones(7)},
  )
  assert differences == names.Differences(("extra",), ("also_due", "due"))


def test_compare_names_every_wrong_shape_at_once():
  expected = {f"kernel_{i}": (2, 3) for i in range(8)}
  found = {name: np.ones((3, 2)) for name in expected} | {"kernel_7": (2, 3)}
  with pytest.raises(
    ValueError, match=r"kernel_0 is \(3, 2\), due is \(2, 3\)"
  ) as e:
    names.compare(expected, found)
  assert "and 2 more" in str(e.value) and "\n" not in str(e.value)


def test_a_scalar_has_the_shape_of_no_dimensions():
  assert names.shape_of(np.float32(1)) == () == names.shape_of(())


def test_nearest_finds_the_name_that_was_meant():
  known = ["encoder/layers_0/mlp/wi/kernel", "projection_layer/kernel"]
  assert names.nearest("projection/kernel", known, 1) == known[1:]
