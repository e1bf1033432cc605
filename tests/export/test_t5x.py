"""T5X's format: what it wrote itself comes back, its own reader included."""

import dataclasses
import importlib.util
import json
import pathlib
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import stand_ins
from gtr_jax.checkpoints import names, t5x, t5x_writing
from gtr_jax.data import vocabulary
from gtr_jax.export import artifact, own_reading
from gtr_jax.export import original as original_lib
from gtr_jax.export import t5x as export
from gtr_jax.layers import mlp, pooling
from gtr_jax.models import dual_encoder

GOLDENS = [
  ("test_de_t5_tiny.checkpoint_1000", "test_de_t5_tiny_golden.npz", 8),
  ("trained_legacy", "trained_golden.npz", 128),
]


def original_of(shared_data, name="trained_legacy", max_distance=128):
  read = t5x.read_t5x(shared_data / "t5x" / name)
  return original_lib.Original(
    own_reading.model_of(names.flatten(read.params), max_distance),
    read.params,
    vocabulary.load(shared_data / "vocab/t5_spiece.model", "find: ", ""),
    query_length=16,
    passage_length=64,
    checkpoint_hash="0123456789abcdef",
    step=read.step,
  )


@pytest.fixture
def alone(monkeypatch):
  """As where T5X is not installed."""
  monkeypatch.setattr(export, "consumer", lambda: None)


@pytest.mark.parametrize("name, golden, max_distance", GOLDENS)
def test_what_t5x_wrote_comes_back(
  tmp_path, shared_data, alone, name, golden, max_distance
):
  original = original_of(shared_data, name, max_distance)
  output = tmp_path / "folder"
  comparison = artifact.make(original, export, output)
  assert comparison.near.max_difference <= 1e-6
  step = f"checkpoint_{original.step}"
  assert sorted(path.name for path in output.iterdir()) == [
    ".gitattributes",
    "README.md",
    step,
    "gtr_export.json",
    "model.gin",
    "parity.json",
    "spiece.model",
    "towers.json",
  ]
  arrays = np.load(shared_data / "t5x" / golden)
  read = t5x.read_t5x(output / step)
  assert read.step == original.step and read.optimizer_state is None
  flat = names.flatten(read.params)
  assert sorted(flat) == sorted(
    k.removeprefix("param/") for k in arrays if k.startswith("param/")
  )
  for parameter, array in flat.items():
    np.testing.assert_array_equal(array, arrays[f"param/{parameter}"])
  encode = export.open_towers(output)
  for tower in original_lib.TOWERS:
    side = "left" if tower == "query" else "right"
    actual = encode(arrays[f"{side}_encoder_input_tokens"], tower)
    due = arrays[f"float32/{side}_embeddings"]
    np.testing.assert_allclose(actual, due, atol=1e-5)
  assert encode(np.zeros((0, 5), np.int32), "query").shape == (0, 768)
  assert (
    f"max_distance = {max_distance}\n" in (output / "model.gin").read_text()
  )


@pytest.mark.filterwarnings("ignore")  # Theirs.
def test_t5x_restores_it(tmp_path, shared_data, alone):
  if importlib.util.find_spec("t5x") is None:
    pytest.skip("T5X is on no package index; install it from its repository")
  stand_ins.install()
  checkpoints = importlib.import_module("t5x.checkpoints")
  artifact.make(original_of(shared_data), export, tmp_path / "folder")
  state = checkpoints.load_t5x_checkpoint(
    str(tmp_path / "folder/checkpoint_20")
  )
  assert int(state["state"]["step"]) == 20
  golden = np.load(shared_data / "t5x/trained_golden.npz")
  for name, array in names.flatten(state["target"]).items():
    np.testing.assert_array_equal(array, golden[f"param/{name}"])


# In a process of its own: what makes T5X Retrieval run changes jax and flax.
THEIRS = """
import json, sys
from benchmarks import t5x_retrieval
t5x_retrieval.install_stand_ins()
from gtr_jax.export import t5x_server
theirs = t5x_server.open_folder(sys.argv[1])
texts = json.loads(sys.argv[2])
print(json.dumps([
  [function(texts, tower).tolist() for function in theirs[:2]]
  for tower in ("query", "passage")
]))
"""


def test_t5x_retrievals_model_gives_the_same(tmp_path, shared_data, alone):
  for library in ("t5x", "t5x_retrieval", "flaxformer"):
    if importlib.util.find_spec(library) is None:
      pytest.skip(f"{library} is on no package index and not installed")
  artifact.make(original_of(shared_data), export, tmp_path / "folder")
  texts = ["green tea", "", "word " * 100, "日本語 é"]
  command = [sys.executable, "-W", "ignore", "-c", THEIRS]
  done = subprocess.run(
    [*command, str(tmp_path / "folder"), json.dumps(texts)],
    capture_output=True,
    text=True,
    check=False,
    cwd=pathlib.Path(__file__).parents[2],
  )
  assert done.returncode == 0, done.stderr
  ours = export.Loaded(tmp_path / "folder")
  theirs = json.loads(done.stdout.splitlines()[-1])
  for tower, (ids, due) in zip(original_lib.TOWERS, theirs, strict=True):
    np.testing.assert_array_equal(ours.token_ids(texts, tower), ids)
    np.testing.assert_allclose(ours.embeddings(texts, tower), due, atol=1e-5)


def test_bfloat16_is_stored_as_such(tmp_path):
  kernel = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
  folder = t5x_writing.write_t5x(tmp_path, 5, {"a/kernel": kernel}, "bfloat16")
  stored = json.loads((folder / "target.a.kernel/.zarray").read_text())
  assert stored["dtype"] == "bfloat16"
  assert stored["compressor"] == {"id": "gzip", "level": 1}
  np.testing.assert_array_equal(
    t5x.read_t5x(tmp_path).params["a"]["kernel"],
    kernel.astype(jnp.bfloat16).astype(np.float32),
  )


def test_chunks_are_rows_of_64_mib_at_most():
  shape = t5x_writing._chunk_shape((32128, 4096), 4)
  assert shape == (4016, 4096)
  assert t5x_writing._chunk_shape((2, 2), 4) == (2, 2)
  assert t5x_writing._chunk_shape((), 4) == ()


def test_a_learned_temperature_stays_behind(tmp_path, shared_data):
  original = original_of(shared_data)
  params = {**original.params, "temperature": {"logit": jnp.zeros(())}}
  original = dataclasses.replace(original, params=params)
  export.write(original, tmp_path)
  read = t5x.read_t5x(tmp_path)
  assert "temperature" not in read.params


def with_two_towers(tower):
  return dual_encoder.DualEncoder(tower, tower.copy())


def with_another_pooling(tower):
  return dual_encoder.DualEncoder(tower.clone(pooling_fn=pooling.maximum))


def with_other_activations(tower):
  encoder = tower.encoder.clone(activations=(mlp.gelu_gate,))
  return dual_encoder.DualEncoder(tower.clone(encoder=encoder))


@pytest.mark.parametrize(
  "change, match",
  [
    (with_two_towers, "has separate towers"),
    (with_another_pooling, "pooling is not the mean"),
    (with_other_activations, "activations are neither"),
  ],
)
def test_what_has_no_form_there_is_refused(
  tmp_path, shared_data, alone, change, match
):
  original = original_of(shared_data)
  changed = dataclasses.replace(
    original, model=change(original.model.query_encoder)
  )
  with pytest.raises(ValueError, match=match):
    artifact.make(changed, export, tmp_path / "folder")
  assert not list(tmp_path.iterdir())


def test_a_wrong_array_leaves_nothing(
  tmp_path, shared_data, alone, monkeypatch
):
  kept = t5x_writing._write_array

  def forgetful(folder, name, array, dtype):
    wrong = name == "encoder/layers_1/mlp/wo/kernel"
    return kept(folder, name, 0 * array if wrong else array, dtype)

  monkeypatch.setattr(t5x_writing, "_write_array", forgetful)
  with pytest.raises(ValueError, match="embeddings differ by"):
    artifact.make(original_of(shared_data), export, tmp_path / "folder")
  assert not list(tmp_path.iterdir())
