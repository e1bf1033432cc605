"""Where a stage's parameters come from, and what is refused."""

import dataclasses
from typing import Any

import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tensorstore
from jax.sharding import NamedSharding, PartitionSpec

from gtr_jax.checkpoints import lazy_arrays, manager, t5x
from gtr_jax.run import initial_checkpoint, training_data

ONE_TOWER: dict[str, Any] = {
  "encoder": {"encoder_norm": {"scale": jnp.full((3,), 2.0)}},
  "projection_layer": {"kernel": jnp.full((3, 4), 5.0)},
  "temperature": {"logit": jnp.float32(7.0)},
}
DATA = training_data.TrainingData("pairs.jsonl", {}, 8, 0, 300)


@pytest.fixture
def checkpoint(tmp_path):
  checkpoints = manager.open_checkpoints(tmp_path)
  checkpoints.save(3, ONE_TOWER)
  checkpoints.close()
  return tmp_path


def zeros(tree):
  if isinstance(tree, dict):
    return {name: zeros(value) for name, value in tree.items()}
  return jnp.zeros_like(tree)


def test_one_tower_starts_both_of_a_model_with_two(checkpoint):
  tower = {k: v for k, v in ONE_TOWER.items() if k != "temperature"}
  params = zeros(
    {
      "query_encoder": tower,
      "passage_encoder": tower,
      "temperature": ONE_TOWER["temperature"],
    }
  )
  said = []
  loaded = initial_checkpoint.load(str(checkpoint), params, said.append)
  for side in ("query_encoder", "passage_encoder"):
    scale = loaded[side]["encoder"]["encoder_norm"]["scale"]
    np.testing.assert_array_equal(scale, [2.0, 2.0, 2.0])
    kernel = loaded[side]["projection_layer"]["kernel"]
    np.testing.assert_array_equal(kernel, np.full((3, 4), 5.0))
  assert float(loaded["temperature"]["logit"]) == 7.0
  assert not said


@pytest.mark.parametrize("num_towers", [1, 2])
def test_a_device_reads_its_own_share_only(tmp_path, mesh, num_towers):
  kernel = np.arange(64, dtype=np.float32).reshape(16, 4)
  checkpoints = manager.open_checkpoints(tmp_path)
  checkpoints.save(3, {"projection_layer": {"kernel": jnp.asarray(kernel)}})
  checkpoints.close()
  spread = NamedSharding(mesh, PartitionSpec("data"))
  towers = {"projection_layer": {"kernel": jnp.zeros((16, 4))}}
  if num_towers == 2:
    towers = {"query_encoder": towers, "passage_encoder": towers}
  params = jax.device_put(towers, spread)
  read, sizes = manager.read_params, []

  def spy(*args):
    result = read(*args)
    leaf = result["projection_layer"]["kernel"]
    sizes.extend(shard.data.size for shard in leaf.addressable_shards)
    return result

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(manager, "read_params", spy)
    loaded = initial_checkpoint.load(str(tmp_path), params, [].append)
  assert sizes == [8] * 8
  for leaf in jax.tree.leaves(loaded):
    assert leaf.sharding == spread
    np.testing.assert_array_equal(leaf, kernel)


KERNEL = np.arange(16 * 24, dtype=np.float32).reshape(16, 24)


def as_t5x(folder, chunk):
  """The kernel as T5X stores it, in chunks of another shape than shares."""
  key = "target.projection_layer.kernel/"
  spec = {
    "driver": "zarr",
    "kvstore": {"driver": "file", "path": f"{folder / key}/"},
    "metadata": {"shape": [16, 24], "chunks": chunk, "dtype": "<f4"},
  }
  tensorstore.open(spec, create=True).result().write(KERNEL).result()
  leaf = {**spec, "kvstore": {"driver": "file", "path": key}}
  target = {"projection_layer": {"kernel": leaf}}
  index = {"target": target, "state": {"step": np.int32(3)}}
  content = flax.serialization.msgpack_serialize(index)
  (folder / "checkpoint").write_bytes(content)
  return t5x.open_t5x(folder).params["projection_layer"]["kernel"]


def as_safetensors(folder, chunk):
  del chunk
  library = pytest.importorskip(
    "safetensors.numpy", reason="needs the extra interop"
  )
  library.save_file({"x": KERNEL.T.copy()}, folder / "model.safetensors")
  return lazy_arrays.open_folder(folder, [].append)["x"].transposed


@pytest.mark.parametrize("write", [as_t5x, as_safetensors])
@pytest.mark.parametrize(
  "axes, share",
  [
    (("data", None), 2 * 24),
    ((None, "data"), 16 * 3),
    ((None, None), 16 * 24),
    (("data", "model"), 4 * 12),
  ],
)
def test_only_shares_are_read_and_each_once(tmp_path, write, axes, share):
  shape = (4, 2) if "model" in axes else (8, 1)
  mesh = jax.make_mesh(
    shape, ("data", "model"), (jax.sharding.AxisType.Auto,) * 2
  )
  lazy = write(tmp_path, [5, 7])
  sizes = []

  def spy(part):
    numbers = lazy[part]
    sizes.append(numbers.size)
    return numbers

  sharding = NamedSharding(mesh, PartitionSpec(*axes))
  leaf = jax.device_put(jnp.zeros((16, 24)), sharding)
  loaded = initial_checkpoint._like(dataclasses.replace(lazy, read=spy), leaf)
  assert loaded.sharding == sharding
  np.testing.assert_array_equal(loaded, KERNEL)
  assert max(sizes) == share and sum(sizes) == KERNEL.size


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_a_t5x_checkpoint_goes_to_where_the_model_is(tmp_path, mesh, dtype):
  as_t5x(tmp_path, [16, 24])
  spread = NamedSharding(mesh, PartitionSpec(None, "data"))
  leaf = jax.device_put(jnp.zeros((16, 24), dtype), spread)
  loaded = initial_checkpoint.load(
    str(tmp_path), {"projection_layer": {"kernel": leaf}}, [].append
  )
  kernel = loaded["projection_layer"]["kernel"]
  assert kernel.sharding == spread and kernel.dtype == dtype
  np.testing.assert_array_equal(kernel, KERNEL.astype(dtype))


@pytest.mark.parametrize(
  "name",
  [
    "test_de_t5_tiny.checkpoint_1000",
    "trained_legacy",
    "trained_orbax_ocdbt",
    "trained_orbax_zarr",
  ],
)
def test_what_t5x_wrote_goes_to_eight_devices_bit_by_bit(
  shared_data, mesh, name
):
  path = shared_data / "t5x" / name
  due = t5x.read_t5x(path, with_optimizer_state=False).params

  def spread(array):
    axes = ["data" if size % 8 == 0 else None for size in array.shape]
    axes = [None if "data" in axes[:n] else a for n, a in enumerate(axes)]
    sharding = NamedSharding(mesh, PartitionSpec(*axes))
    return jax.device_put(jnp.zeros(array.shape), sharding)

  params = jax.tree.map(spread, due)
  loaded = initial_checkpoint.load(str(path), params, [].append)
  for came, want, where in zip(
    *map(jax.tree.leaves, (loaded, due, params)), strict=True
  ):
    assert came.sharding == where.sharding
    np.testing.assert_array_equal(came, want)


def test_what_the_checkpoint_lacks_stays_and_is_said(checkpoint):
  params = zeros({**ONE_TOWER, "other": {"scale": jnp.ones(2)}})
  said = []
  loaded = initial_checkpoint.load(str(checkpoint), params, said.append)
  np.testing.assert_array_equal(loaded["other"]["scale"], [0.0, 0.0])
  assert len(said) == 1 and "other/scale" in said[0]


def test_half_an_encoder_is_refused(checkpoint):
  layer = {"attention": {"query": {"kernel": jnp.ones((3, 3))}}}
  encoder = {**ONE_TOWER["encoder"], "relpos_bias": layer}
  params = zeros({**ONE_TOWER, "encoder": encoder})
  with pytest.raises(ValueError, match="lacks encoder/relpos_bias/att.* whole"):
    initial_checkpoint.load(str(checkpoint), params, [].append)


def test_embeddings_of_unknown_pieces_are_refused(checkpoint):
  with pytest.raises(ValueError, match="set VOCABULARY"):
    initial_checkpoint.check_vocabulary(str(checkpoint), DATA)


@pytest.mark.parametrize(
  "data",
  [
    dataclasses.replace(DATA, vocabulary="spiece.model"),
    dataclasses.replace(DATA, task="a_seqio_task"),
  ],
  ids=["named", "the task's"],
)
def test_embeddings_of_known_pieces_are_taken(checkpoint, data):
  initial_checkpoint.check_vocabulary(str(checkpoint), data)


def test_a_stages_own_vocabulary_is_known(checkpoint):
  (checkpoint / "vocabulary").mkdir()
  initial_checkpoint.check_vocabulary(str(checkpoint), DATA)
