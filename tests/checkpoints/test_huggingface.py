"""Folders of Hugging Face, made by hand, and what is wrong with some."""

import json
import sys
import types

import ml_dtypes
import numpy as np
import pytest

from gtr_jax.checkpoints import hub, huggingface, lazy_arrays

safetensors = pytest.importorskip(
  "safetensors.numpy", reason="needs the extra interop"
)

CONFIG = {
  "model_type": "t5",
  "architectures": ["T5EncoderModel"],
  "vocab_size": 20,
  "d_model": 6,
  "d_kv": 2,
  "d_ff": 10,
  "num_layers": 2,
  "num_heads": 3,
  "relative_attention_num_buckets": 8,
  "relative_attention_max_distance": 20,
  "feed_forward_proj": "relu",
  "layer_norm_epsilon": 1e-6,
}
ATTENTION = "layer.0.SelfAttention"
POSITIONS = f"encoder.block.0.{ATTENTION}.relative_attention_bias.weight"


def arrays_of(gated=False):
  """Two layers, width 6, 3 heads of 2, MLP 10, 8 buckets."""
  rng = np.random.default_rng(0)
  shapes = {
    "shared.weight": (20, 6),
    POSITIONS: (8, 3),
    "encoder.final_layer_norm.weight": (6,),
  }
  for layer in range(2):
    block = f"encoder.block.{layer}"
    shapes |= {f"{block}.layer.{n}.layer_norm.weight": (6,) for n in (0, 1)}
    shapes |= {f"{block}.{ATTENTION}.{part}.weight": (6, 6) for part in "qkvo"}
    for wide in ("wi_0", "wi_1") if gated else ("wi",):
      shapes[f"{block}.layer.1.DenseReluDense.{wide}.weight"] = (10, 6)
    shapes[f"{block}.layer.1.DenseReluDense.wo.weight"] = (6, 10)
  return {
    name: rng.normal(size=shape).astype(np.float32)
    for name, shape in shapes.items()
  }


def write(folder, arrays=None, **config):
  folder.mkdir(parents=True, exist_ok=True)
  (folder / "config.json").write_text(json.dumps(CONFIG | config))
  safetensors.save_file(arrays or arrays_of(), folder / "model.safetensors")
  return folder


def write_shards(folder, arrays):
  write(folder)
  (folder / "model.safetensors").unlink()
  names = list(arrays)
  halves = {
    "model-1.safetensors": names[::2],
    "model-2.safetensors": names[1::2],
  }
  for file, part in halves.items():
    safetensors.save_file({k: arrays[k] for k in part}, folder / file)
  places = {name: file for file, part in halves.items() for name in part}
  (folder / "model.safetensors.index.json").write_text(
    json.dumps({"metadata": {}, "weight_map": places})
  )
  return folder


@pytest.mark.parametrize("gated", [False, True])
def test_arrays_come_under_our_names_with_inputs_first(tmp_path, gated):
  theirs = arrays_of(gated)
  forward = "gated-gelu" if gated else "relu"
  read = huggingface.read(write(tmp_path, theirs, feed_forward_proj=forward))
  wide = ("wi_0", "wi_1") if gated else ("wi",)
  due = {
    "token_embedder/embedding": theirs["shared.weight"],
    "encoder/relpos_bias/rel_embedding": theirs[POSITIONS].T,
    "encoder/encoder_norm/scale": theirs["encoder.final_layer_norm.weight"],
  }
  for n in (0, 1):
    block, layer = f"encoder.block.{n}", f"encoder/layers_{n}"
    norms = ("attention", "mlp")
    for k, name in enumerate(norms):
      due[f"{layer}/pre_{name}_layer_norm/scale"] = theirs[
        f"{block}.layer.{k}.layer_norm.weight"
      ]
    for part, name in zip(
      "qkvo", ("query", "key", "value", "out"), strict=True
    ):
      due[f"{layer}/attention/{name}/kernel"] = theirs[
        f"{block}.{ATTENTION}.{part}.weight"
      ].T
    for name in (*wide, "wo"):
      due[f"{layer}/mlp/{name}/kernel"] = theirs[
        f"{block}.layer.1.DenseReluDense.{name}.weight"
      ].T
  assert read.arrays.keys() == due.keys() and read.unused == ()
  for name, array in due.items():
    assert read.arrays[name].shape == array.shape
    np.testing.assert_array_equal(np.asarray(read.arrays[name]), array)
    assert huggingface.name_of(name) in theirs
  assert read.max_distance == 20 and read.vocabulary is None


def test_shards_are_one_model(tmp_path):
  whole = huggingface.read(write(tmp_path / "one")).arrays
  parts = huggingface.read(write_shards(tmp_path / "two", arrays_of())).arrays
  assert whole.keys() == parts.keys()
  for name in whole:
    np.testing.assert_array_equal(
      np.asarray(whole[name]), np.asarray(parts[name])
    )


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, np.float16])
def test_half_precision_becomes_float32_exactly(tmp_path, dtype):
  low = {k: v.astype(dtype) for k, v in arrays_of().items()}
  read = np.asarray(
    huggingface.read(write(tmp_path, low)).arrays["token_embedder/embedding"]
  )
  assert read.dtype == np.float32
  np.testing.assert_array_equal(read, low["shared.weight"].astype(np.float32))


def test_a_whole_model_leaves_its_decoder_unused(tmp_path):
  decoder = {
    "decoder.final_layer_norm.weight": np.ones(6, np.float32),
    "decoder.embed_tokens.weight": np.ones((20, 6), np.float32),
    "lm_head.weight": np.ones((20, 6), np.float32),
  }
  copy = {"encoder.embed_tokens.weight": arrays_of()["shared.weight"]}
  read = huggingface.read(write(tmp_path, arrays_of() | decoder | copy))
  assert read.unused == tuple(sorted(decoder))
  assert all(map(huggingface.is_of_decoder, read.unused))
  assert not huggingface.is_of_decoder("encoder.block.0.adapter.weight")


def test_the_table_may_have_its_other_name(tmp_path):
  arrays = arrays_of()
  arrays["encoder.embed_tokens.weight"] = arrays.pop("shared.weight")
  read = huggingface.read(write(tmp_path, arrays))
  np.testing.assert_array_equal(
    np.asarray(read.arrays["token_embedder/embedding"]),
    arrays["encoder.embed_tokens.weight"],
  )


def test_nothing_is_read_before_it_is_used(tmp_path, monkeypatch):
  seen = []
  kept = lazy_arrays.as_float32
  monkeypatch.setattr(
    lazy_arrays,
    "as_float32",
    lambda name, array: seen.append(name.split()[-1]) or kept(name, array),
  )
  arrays = huggingface.read(write(tmp_path)).arrays
  assert seen == []
  np.asarray(arrays["encoder/encoder_norm/scale"])
  assert seen == ["encoder.final_layer_norm.weight"]


def cut(folder):
  path = folder / "model.safetensors"
  path.write_bytes(path.read_bytes()[:-20])


def cut_config(folder):
  (folder / "config.json").write_text('{"model_type": "t')


def no_weights(folder):
  (folder / "model.safetensors").unlink()


def lost_shard(folder):
  no_weights(folder)
  write_shards(folder, arrays_of())
  (folder / "model-2.safetensors").unlink()


def swapped_shards(folder):
  no_weights(folder)
  write_shards(folder, arrays_of())
  one, two = folder / "model-1.safetensors", folder / "model-2.safetensors"
  kept = one.read_bytes()
  one.write_bytes(two.read_bytes())
  two.write_bytes(kept)


def cut_index(folder):
  no_weights(folder)
  (folder / "model.safetensors.index.json").write_text("{}")


def renamed(folder):
  write(folder, {f"model.{k}": v for k, v in arrays_of().items()})


def another_table(folder):
  copy = {"encoder.embed_tokens.weight": np.ones((20, 6), np.float32)}
  write(folder, arrays_of() | copy)


def integers(folder):
  name = "encoder.final_layer_norm.weight"
  write(folder, arrays_of() | {name: np.ones(6, np.int32)})


@pytest.mark.parametrize(
  "damage, match",
  [
    (cut, "broken or cut"),
    (cut_config, "config.json: broken or cut"),
    (no_weights, "holds no weights"),
    (lost_shard, "names model-2.safetensors, which is not beside it"),
    (swapped_shards, "holds other arrays than"),
    (cut_index, "no weight_map"),
    (renamed, "none of its 19 arrays is a T5 layer's"),
    (another_table, "T5 has one token table"),
    (integers, "is int32, due are floats"),
  ],
)
def test_a_damaged_folder_is_one_line(tmp_path, damage, match):
  damage(write(tmp_path))
  with pytest.raises(ValueError, match=match) as error:
    for array in huggingface.read(tmp_path).arrays.values():
      np.asarray(array)
  assert str(tmp_path) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
  "change, match",
  [
    ({"model_type": "bert"}, "model_type is 'bert'"),
    ({"model_type": "umt5"}, "model_type is 'umt5'"),
    ({"feed_forward_proj": "gated-silu"}, "'gated-silu', due is"),
    ({"feed_forward_proj": "gated-gelu"}, "the arrays are of T5 1.0"),
    ({"layer_norm_epsilon": 1e-5}, "T5's is 1e-06"),
    ({"num_layers": 3}, "num_layers is 3, of the arrays 2"),
    ({"num_heads": 2}, "num_heads is 2, of the arrays 3"),
    ({"vocab_size": 21}, "vocab_size is 21, of the arrays 20"),
    (
      {"relative_attention_num_buckets": 32},
      "relative_attention_num_buckets is 32, of the arrays 8",
    ),
  ],
)
def test_another_models_config_is_refused(tmp_path, change, match):
  with pytest.raises(ValueError, match=match):
    huggingface.read(write(tmp_path, **change))


def test_a_pickle_is_read_as_weights_only_and_told(tmp_path, monkeypatch):
  folder = write(tmp_path)
  no_weights(folder)
  (folder / "pytorch_model.bin").write_bytes(b"pickle")
  asked = {}

  def load(path, **settings):
    asked.update(settings, path=path)
    return {k: FakeTensor(v) for k, v in arrays_of().items()}

  torch = types.SimpleNamespace(load=load)
  monkeypatch.setitem(sys.modules, "torch", torch)
  said = []
  read = huggingface.read(folder, said.append)
  assert asked["weights_only"] is True
  assert len(said) == 1 and "a pickle" in said[0]
  np.testing.assert_array_equal(
    np.asarray(read.arrays["token_embedder/embedding"]),
    arrays_of()["shared.weight"],
  )
  monkeypatch.setitem(sys.modules, "torch", None)
  with pytest.raises(ValueError, match=r"needs torch: pip install torch"):
    huggingface.read(folder)


class FakeTensor:
  def __init__(self, array):
    self.array, self.shape = array, array.shape

  def __getitem__(self, part):
    return FakeTensor(self.array[part])

  def is_floating_point(self):
    return True

  def float(self):
    return self

  def numpy(self):
    return self.array


def test_a_name_is_fetched_only_if_it_is_no_folder(tmp_path, monkeypatch):
  calls = []

  def snapshot_download(name, allow_patterns):
    calls.append((name, tuple(allow_patterns)))
    if name == "org/none":
      raise OSError("404:\nno such repository")
    return str(tmp_path)

  library = types.SimpleNamespace(snapshot_download=snapshot_download)
  monkeypatch.setitem(sys.modules, "huggingface_hub", library)
  assert hub.folder_of(tmp_path) == tmp_path and not calls
  write(tmp_path)
  assert hub.folder_of("org/model") == tmp_path
  assert hub.folder_of("hf://org/model") == tmp_path
  assert [name for name, _ in calls] == ["org/model"] * 2
  assert "*.bin" not in calls[0][1]
  dense = tmp_path / "2_Dense"
  dense.mkdir()
  (dense / "config.json").write_text("{}")
  hub.folder_of("org/model")
  assert calls[-1] == ("org/model", ("2_Dense/*.bin",))
  (dense / "model.safetensors").write_bytes(b"")
  (tmp_path / "model.safetensors").unlink()
  hub.folder_of("org/model")
  assert calls[-1] == ("org/model", ("*.bin",))
  with pytest.raises(ValueError, match="404: no such repository"):
    hub.folder_of("org/none")
  for path in ("/no/where", "nowhere", "a/b/c"):
    with pytest.raises(ValueError, match="no such folder"):
      hub.folder_of(path)
  monkeypatch.setitem(sys.modules, "huggingface_hub", None)
  with pytest.raises(ValueError, match="pip install huggingface_hub"):
    hub.folder_of("org/model")


def test_a_config_may_leave_out_what_its_kind_has_by_default(tmp_path):
  for kind, gated in (("t5", False), ("mt5", True)):
    folder = write(tmp_path / kind, arrays_of(gated), model_type=kind)
    config = json.loads((folder / "config.json").read_text())
    del config["feed_forward_proj"], config["relative_attention_max_distance"]
    (folder / "config.json").write_text(json.dumps(config))
    assert huggingface.read(folder).max_distance == 128


@pytest.mark.parametrize("distance", [None, "128", 20.5, True])
def test_a_distance_must_be_a_whole_number(tmp_path, distance):
  folder = write(tmp_path, relative_attention_max_distance=distance)
  with pytest.raises(ValueError, match="max_distance is .*, due is a whole"):
    huggingface.read(folder)


def test_arrays_of_other_names_are_told(tmp_path):
  arrays = {f"transformer.{name}": x for name, x in arrays_of().items()}
  with pytest.raises(ValueError, match="it holds transformer.encoder.block"):
    huggingface.read(write(tmp_path, arrays))


def test_the_single_file_goes_before_an_index(tmp_path):
  folder = write(tmp_path)
  (folder / "model.safetensors.index.json").write_text("{}")
  said = []
  assert huggingface.read(folder, said.append).arrays
  assert len(said) == 1 and "model.safetensors is read" in said[0]
