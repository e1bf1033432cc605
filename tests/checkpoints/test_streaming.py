"""Steps written block by block are steps like all others."""

import numpy as np
import pytest

from gtr_jax.checkpoints import lazy_arrays, manager, names, streaming

ARRAYS = {
  "encoder/kernel": np.arange(35, dtype=np.float32).reshape(5, 7),
  "encoder/scale": np.arange(3, dtype=np.float32),
  "temperature/logit": np.float32(4),
  "wide": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
}


def in_blocks(array, block, seen=None):
  def read(part):
    if seen is not None:
      seen.append(array[part].size)
    return array[part]

  return lazy_arrays.LazyArray(array.shape, read, block)


@pytest.mark.parametrize("blocks", [(5, 7), (2, 3), (1, 7), (5, 1)])
def test_what_is_written_is_read_back(tmp_path, blocks):
  seen = []
  lazy = {k: lazy_arrays.in_memory(x) for k, x in ARRAYS.items()}
  lazy["encoder/kernel"] = in_blocks(ARRAYS["encoder/kernel"], blocks, seen)
  streaming.save(tmp_path, 12, lazy)
  assert max(seen) == np.prod(blocks) and sum(seen) == 35
  assert manager.best_step(tmp_path) == 12
  read = names.flatten(manager.read_params(tmp_path, 12))
  assert read.keys() == ARRAYS.keys()
  for name, array in ARRAYS.items():
    assert read[name].dtype == np.float32
    np.testing.assert_array_equal(read[name], array)


def test_the_folder_is_as_the_manager_writes_it(tmp_path):
  streaming.save(
    tmp_path / "a", 3, {k: lazy_arrays.in_memory(x) for k, x in ARRAYS.items()}
  )
  checkpoints = manager.open_checkpoints(tmp_path / "b")
  checkpoints.save(3, names.unflatten(ARRAYS))
  checkpoints.close()
  for file in ("params/_METADATA", "progress/metadata"):
    one, other = (tmp_path / x / "checkpoints/3" / file for x in ("a", "b"))
    assert one.read_bytes() == other.read_bytes()


def test_an_array_that_cannot_be_read_leaves_no_step(tmp_path):
  def read(part):
    raise ValueError(f"the file is cut at {part}")

  lazy = {
    "a": lazy_arrays.in_memory(np.ones(3)),
    "b": lazy_arrays.LazyArray((2,), read, (2,)),
  }
  with pytest.raises(ValueError, match="the file is cut at"):
    streaming.save(tmp_path, 3, lazy)
  assert manager.available_steps(tmp_path) == []


def test_a_transposed_array_is_read_in_transposed_parts():
  array = np.arange(35, dtype=np.float32).reshape(5, 7)
  turned = in_blocks(array, (2, 7)).transposed
  assert turned.shape == (7, 5) and turned.block == (7, 2)
  np.testing.assert_array_equal(np.asarray(turned), array.T)
  for part in turned.parts():
    np.testing.assert_array_equal(turned[part], array.T[part])


def nothing(part):
  raise AssertionError(part)


def test_large_arrays_come_in_rows():
  lazy = lazy_arrays.of_rows((2**14, 2**10), nothing)
  assert lazy.block == (2**12, 2**10)  # 16 MiB of float32
  assert len(list(lazy.parts())) == 4
  assert lazy_arrays.of_rows((0, 3), nothing).block == (0, 3)
