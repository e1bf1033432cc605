import json
import shutil

import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint
import pytest
import tensorstore
from jax.sharding import NamedSharding, PartitionSpec

from gtr_jax.checkpoints import names, stored_arrays, t5x

GOLDENS = [
  ("test_de_t5_tiny.checkpoint_1000", "test_de_t5_tiny_golden.npz", 1000),
  ("trained_legacy", "trained_golden.npz", 20),
  ("trained_orbax_ocdbt", "trained_golden.npz", 20),
  ("trained_orbax_zarr", "trained_golden.npz", 20),
]
MOMENTS = ("m", "v", "v_col", "v_row")
KERNEL = np.arange(12, dtype=np.float32).reshape(3, 4) + 1
TREE = {
  "encoder/encoder_norm/scale": np.array([1, 2, 3], np.float32),
  "encoder/layers_0/mlp/wi/kernel": KERNEL,
  "decoder/logits_dense/kernel": -KERNEL,
}


def write_zarr(kvstore, array):
  store = tensorstore.open(
    {"driver": "zarr", "kvstore": kvstore},
    create=True,
    dtype=str(array.dtype),
    shape=array.shape,
    chunk_layout=tensorstore.ChunkLayout(chunk_shape=(2, *array.shape[1:])),
  ).result()
  store.write(array).result()


def legacy_leaf(root, name, array, path="{}"):
  """Writes an array as zarr; what stands for it in the index."""
  key = f"target.{name.replace('/', '.')}"
  write_zarr({"driver": "file", "path": f"{root / key}/"}, array)
  return {
    "driver": "zarr",
    "kvstore": {"driver": "gfile", "path": path.format(key)},
    "metadata": {"shape": list(array.shape)},
  }


def write_legacy(root, target, state=None, wrap=True, path="{}"):
  root.mkdir(parents=True)
  leaves = {
    name: legacy_leaf(root, name, array, path) if array.ndim > 1 else array
    for name, array in target.items()
  }
  tree = {
    "target": names.unflatten(leaves),
    "state": {"step": np.int32(7)} if state is None else state,
  }
  tree = {"version": 3, "optimizer": tree} if wrap else tree
  (root / "checkpoint").write_bytes(flax.serialization.msgpack_serialize(tree))
  return root


def moments_of(target):
  flat = {
    f"{name}/{key}": np.full(1 if key != "v" else array.shape, 0.5, np.float32)
    for name, array in target.items()
    for key in MOMENTS
  }
  return names.unflatten(flat)


def assert_is_tree(params, target):
  flat = names.flatten(params)
  assert flat.keys() == target.keys()
  for name, array in flat.items():
    assert array.dtype == np.float32
    np.testing.assert_array_equal(array, target[name].astype(np.float32))


@pytest.mark.parametrize("name, golden, step", GOLDENS)
def test_reads_what_t5x_wrote(shared_data, name, golden, step):
  golden = np.load(shared_data / "t5x" / golden)
  actual = t5x.read_t5x(shared_data / "t5x" / name)
  assert actual.step == step
  prefix = "param/"
  expected = {k.removeprefix(prefix): golden[k] for k in golden if prefix in k}
  assert_is_tree(actual.params, expected)
  assert actual.optimizer_state is not None
  assert actual.optimizer_state.keys() == expected.keys()
  for parameter, moments in actual.optimizer_state.items():
    assert sorted(moments) == list(MOMENTS)
    for key, array in moments.items():
      np.testing.assert_array_equal(
        array, golden[f"optstate/{parameter}/{key}"]
      )


@pytest.mark.parametrize("wrap", [True, False])
def test_legacy_with_and_without_the_word_optimizer(tmp_path, wrap):
  state = {"step": np.int32(7), "param_states": moments_of(TREE)}
  root = write_legacy(tmp_path / "a", TREE, state, wrap)
  actual = t5x.read_t5x(root)
  assert actual.step == 7
  assert_is_tree(actual.params, TREE)
  assert actual.optimizer_state is not None
  moments = actual.optimizer_state["decoder/logits_dense/kernel"]
  np.testing.assert_array_equal(moments["v"], np.full((3, 4), 0.5))
  assert moments["m"].shape == (1,)
  alone = t5x.read_t5x(root, with_optimizer_state=False)
  assert alone.optimizer_state is None
  assert_is_tree(alone.params, TREE)


@pytest.mark.parametrize("path", ["{}", "{}/", "gone/model/checkpoint_7/{}/"])
def test_an_array_is_found_beside_its_index(tmp_path, path):
  root = write_legacy(tmp_path / "a", TREE, path=path)
  assert_is_tree(t5x.read_t5x(str(root) + "/").params, TREE)


def test_bfloat16_becomes_float32(tmp_path):
  target = {name: x.astype(jnp.bfloat16) for name, x in TREE.items()}
  assert_is_tree(
    t5x.read_t5x(write_legacy(tmp_path / "a", target)).params, TREE
  )


@pytest.mark.parametrize(
  "state",
  [
    {"step": np.int32(7)},
    {"step": np.int32(7), "param_states": {}},
    {"step": np.int32(7), "param_states": {"0": {"mu": np.ones(3)}}},
  ],
)
def test_without_adafactor_there_is_no_optimizer_state(tmp_path, state):
  actual = t5x.read_t5x(write_legacy(tmp_path / "a", TREE, state))
  assert actual.optimizer_state is None
  assert_is_tree(actual.params, TREE)


def test_the_newest_is_the_largest_number(tmp_path):
  for step in (9, 10, 100):
    state = {"step": np.int32(step)}
    write_legacy(tmp_path / f"checkpoint_{step}", TREE, state)
  (tmp_path / "checkpoint_200.orbax-checkpoint-tmp-3").mkdir()
  assert t5x.read_t5x(tmp_path).step == 100


def write_orbax(root, ocdbt, write_index):
  """Orbax's layout: arrays by dotted names in `state`."""
  folder = root / "state"
  folder.mkdir(parents=True)
  arrays = {"state/step": np.array([7], np.int32)}
  arrays |= {f"target/{name}": array for name, array in TREE.items()}
  for name, array in arrays.items():
    kvstore = {"driver": "file", "path": f"{folder}/"}
    path = f"{name.replace('/', '.')}/"
    if ocdbt:
      kvstore = {"driver": "ocdbt", "base": kvstore, "path": path}
    else:
      kvstore["path"] += path
    write_zarr(kvstore, array)
  write_index(folder, arrays, ocdbt)
  return root


def write_metadata(folder, arrays, ocdbt):
  entries = {
    str(tuple(name.split("/"))): {
      "key_metadata": [{"key": k, "key_type": 2} for k in name.split("/")],
      "value_metadata": {
        "value_type": "jax.Array",
        "skip_deserialize": False,
        "write_shape": list(array.shape),
      },
    }
    for name, array in arrays.items()
  }
  entries["('flax_mutables',)"] = {
    "key_metadata": [{"key": "flax_mutables", "key_type": 2}],
    "value_metadata": {"value_type": "Dict", "skip_deserialize": True},
  }
  index = {"tree_metadata": entries, "use_ocdbt": ocdbt}
  (folder / "_METADATA").write_text(json.dumps(index))


def write_placeholders(folder, arrays, ocdbt):
  del ocdbt
  leaves = {k: f"PLACEHOLDER://{k.replace('/', '.')}" for k in arrays}
  tree = names.unflatten(leaves) | {"flax_mutables": {}}
  index = flax.serialization.msgpack_serialize(tree)
  (folder / "checkpoint").write_bytes(index)


@pytest.mark.parametrize("ocdbt", [True, False])
@pytest.mark.parametrize("write_index", [write_metadata, write_placeholders])
def test_orbax_with_and_without_ocdbt(tmp_path, ocdbt, write_index):
  root = write_orbax(tmp_path / "a", ocdbt, write_index)
  for path in (root, root / "state"):
    actual = t5x.read_t5x(path)
    assert actual.step == 7
    assert_is_tree(actual.params, TREE)


ARRAY = "target.encoder.layers_0.mlp.wi.kernel"


def test_orbax_by_several_devices(tmp_path):
  """Each writes a part, of replicated arrays too; the index has their shape."""
  mesh = jax.make_mesh((8,), ("data",))
  rows = {"a": np.arange(64, dtype=np.float32).reshape(16, 4)}
  whole = {"b": np.arange(16, dtype=np.float32)}
  put = lambda tree, *axes: jax.device_put(
    tree, NamedSharding(mesh, PartitionSpec(*axes))
  )
  tree = {
    "target": {**put(rows, "data"), **put(whole)},
    "state": {"step": put(np.int32(7))},
  }
  with orbax.checkpoint.PyTreeCheckpointer() as checkpointer:
    checkpointer.save(tmp_path / "checkpoint_7" / "state", tree)
  index = (tmp_path / "checkpoint_7" / "state" / "_METADATA").read_text()
  assert '"write_shape": [2]' in index  # Or this would test nothing.
  loaded = t5x.read_t5x(tmp_path / "checkpoint_7")
  assert loaded.step == 7
  assert_is_tree(loaded.params, {**rows, **whole})


def drop_chunk(root):
  (root / ARRAY / "1.0").unlink()


def cut_chunk(root):
  path = root / ARRAY / "0.0"
  path.write_bytes(path.read_bytes()[:9])


def drop_array(root):
  shutil.rmtree(root / ARRAY)


def other_shape(root):
  shutil.rmtree(root / ARRAY)
  kvstore = {"driver": "file", "path": f"{root / ARRAY}/"}
  write_zarr(kvstore, np.ones((3, 5), np.float32))


@pytest.mark.parametrize(
  "damage", [drop_chunk, cut_chunk, drop_array, other_shape]
)
def test_a_damaged_array_is_named(tmp_path, damage):
  root = write_legacy(tmp_path / "a", TREE)
  damage(root)
  with pytest.raises(ValueError, match=ARRAY):
    t5x.read_t5x(root)


@pytest.mark.parametrize("size", [0, 1, 10, 100, -1])
def test_a_cut_index_is_named(tmp_path, size):
  root = write_legacy(tmp_path / "a", TREE)
  index = root / "checkpoint"
  index.write_bytes(index.read_bytes()[:size])
  with pytest.raises(ValueError, match="a/checkpoint: broken or cut"):
    t5x.read_t5x(root)


def test_a_cut_orbax_index_is_named(tmp_path):
  root = write_orbax(tmp_path / "a", True, write_metadata)
  index = root / "state/_METADATA"
  index.write_text(index.read_text()[:500])
  with pytest.raises(ValueError, match="_METADATA: broken or cut"):
    t5x.read_t5x(root)


def test_a_lost_ocdbt_file_is_an_error(tmp_path):
  root = write_orbax(tmp_path / "a", True, write_metadata)
  shutil.rmtree(root / "state/d")
  with pytest.raises(ValueError, match="missing, cut or broken"):
    t5x.read_t5x(root)


@pytest.mark.parametrize(
  "tree, match",
  [
    ({"params": {"a": np.ones(3)}}, "no T5X train state.*'params'"),
    ({"target": {"a": np.ones(3)}}, "does not say its step"),
    ({"target": {"a": "text"}, "state": {"step": 1}}, "a is str"),
    ({"target": {"a": np.ones(3)}, "state": {"step": 1.5}}, "one integer"),
  ],
)
def test_another_tree_is_refused(tmp_path, tree, match):
  index = flax.serialization.msgpack_serialize(tree)
  (tmp_path / "checkpoint").write_bytes(index)
  with pytest.raises(ValueError, match=match):
    t5x.read_t5x(tmp_path)


def test_where_nothing_is_nothing_is_read(tmp_path):
  with pytest.raises(ValueError, match="no such directory"):
    t5x.read_t5x(tmp_path / "none")
  with pytest.raises(ValueError, match="no T5X checkpoint"):
    t5x.read_t5x(tmp_path)
  (tmp_path / "state").mkdir()
  with pytest.raises(ValueError, match="copied whole"):
    t5x.read_t5x(tmp_path)
  with pytest.raises(ValueError, match="due is a local path or gs://"):
    t5x.read_t5x("s3://bucket/model")


def test_the_file_in_it_is_no_checkpoint(tmp_path):
  root = write_legacy(tmp_path / "a", TREE)
  with pytest.raises(ValueError, match="is a file; due is the directory"):
    t5x.read_t5x(root / "checkpoint")


def test_what_opens_lazily_is_not_read(tmp_path):
  root = write_legacy(tmp_path / "a", TREE)
  drop_chunk(root)
  opened = names.flatten(t5x.open_t5x(root).params)
  kernel = opened["encoder/layers_0/mlp/wi/kernel"]
  assert kernel.shape == (3, 4) and kernel.block == (2, 4)
  np.testing.assert_array_equal(kernel[:2, 1:3], KERNEL[:2, 1:3])
  with pytest.raises(ValueError, match=f"{ARRAY} is missing, cut or broken"):
    kernel[2:, :]


def test_integers_are_no_parameters(tmp_path):
  target = {**TREE, "encoder/layers_0/mlp/wi/kernel": np.ones((3, 4), np.int32)}
  with pytest.raises(ValueError, match="is int32, due are floats"):
    t5x.open_t5x(write_legacy(tmp_path / "a", target))


def test_a_checkpoint_of_tensorflow_is_named(tmp_path):
  index = b'model_checkpoint_path: "model.ckpt-1000000"\n'
  (tmp_path / "checkpoint").write_bytes(index)
  with pytest.raises(ValueError, match="is TensorFlow's index"):
    t5x.read_t5x(tmp_path)


def test_an_error_quotes_no_page_of_bytes(tmp_path):
  (tmp_path / "checkpoint").write_bytes(bytes(10_000))
  with pytest.raises(ValueError, match="broken or cut") as error:
    t5x.read_t5x(tmp_path)
  assert len(str(error.value)) < 500


def test_a_cloud_path_is_tensorstores_own():
  spec = tensorstore.KvStore.Spec(
    stored_arrays.kvstore("gs://bucket/t5x/checkpoint_7")
  )
  assert spec.url == "gs://bucket/t5x/checkpoint_7/"
