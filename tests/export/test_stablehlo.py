"""Folders of StableHLO programs: read by jax and safetensors alone."""

import dataclasses
import functools
import json
import pathlib
import re
import shutil
import subprocess
import sys

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from gtr_jax.checkpoints import names
from gtr_jax.data import vocabulary
from gtr_jax.export import artifact, safetensors_files, stablehlo, towers
from gtr_jax.export import original as original_lib
from gtr_jax.layers import mlp, pooling
from gtr_jax.models import dual_encoder, t5_encoder, text_encoder

safetensors = pytest.importorskip(
  "safetensors.numpy", reason="needs the extra interop"
)

TEXT = [
  "Programs that any JAX runs: StableHLO, and the arrays beside them.",
  "Prompts, EOS and the cut to the length are there, too; 12,345 of them!",
  "Ünïcödé texts – naïve café, Straße, 日本語, русский – are read alike.",
] * 20
GATED = (mlp.gelu_gate, mlp.linear_gate)


@functools.cache
def tokenizer():
  return vocabulary.train(TEXT, 400, query_prompt="query: ")


def original_of(two_towers=False, pooling_fn=pooling.mean, **settings):
  settings = {
    "num_layers": 1,
    "num_heads": 2,
    "head_dim": 8,
    "mlp_dim": 24,
    **settings,
  }
  tower = text_encoder.TextEncoder(
    t5_encoder.T5Encoder(**settings),
    420,
    16,
    projection_dim=12,
    pooling_fn=pooling_fn,
  )
  model = dual_encoder.DualEncoder(tower, tower.copy() if two_towers else None)
  tokens = jnp.ones((1, 2), jnp.int32)
  params = nn.unbox(model.init(jax.random.key(0), tokens, tokens))["params"]
  # Else the scales are ones, which would hide that one is forgotten.
  params = jax.tree.map(
    lambda x: x + 0.2 * np.sin(np.arange(x.size)).reshape(x.shape), params
  )
  return original_lib.Original(
    model, params, tokenizer(), 16, 32, "0123456789abcdef", step=7
  )


def expected_of(original, tokens, tower):
  encode = jax.jit(original.encoders()[tower])
  return np.asarray(encode(original.written_params, tokens))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
  """A shared tower of T5 1.1, exported."""
  original = original_of(activations=GATED)
  directory = tmp_path_factory.mktemp("exports") / "folder"
  comparison = artifact.make(original, stablehlo, directory)
  assert comparison.near.max_difference <= 1e-6 and not comparison.num_ties
  return original, directory


def test_the_folder_and_its_description(exported):
  _, directory = exported
  assert sorted(p.name for p in directory.iterdir()) == [
    ".gitattributes",
    "README.md",
    "gtr_export.json",
    "model.safetensors",
    "model.stablehlo",
    "parity.json",
    "spiece.model",
    "towers.json",
  ]
  description = json.loads((directory / "gtr_export.json").read_text())
  assert description["platforms"] == ["cpu", "cuda", "rocm", "tpu"]
  program = bytearray((directory / "model.stablehlo").read_bytes())
  assert f"StableHLO_v{description['stablehlo']}".encode() in program
  convention = jax.export.deserialize(program).calling_convention_version
  assert description["calling_convention"] == convention
  parity = json.loads((directory / "parity.json").read_text())
  assert parity["checked_by"] == f"jax {jax.__version__}"


def test_towers_of_any_shape(exported):
  original, directory = exported
  encode = stablehlo.open_towers(directory)
  rng = np.random.default_rng(0)
  for rows, length in [(0, 5), (3, 0), (1, 1), (7, 150)]:
    tokens = rng.integers(1, 420, (rows, length)).astype(np.int32)
    tokens[1:, length // 2 + 1 :] = 0
    actual = encode(tokens, "passage")
    assert actual.shape == (rows, 12) and actual.dtype == np.float32
    if rows and length:
      due = expected_of(original, tokens, "passage")
      np.testing.assert_allclose(actual, due, atol=1e-6)
    else:
      assert not actual.any()


READER = """
import importlib.abc, sys
class Nothing(importlib.abc.MetaPathFinder):
  def find_spec(self, name, *_):
    if name.split(".")[0] in ("gtr_jax", "flax", "tensorflow"):
      raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Nothing())
"""
PRINT = "\nprint(json.dumps([queries.tolist(), passages.tolist()]))\n"


@pytest.mark.parametrize("two_towers", [False, True])
def test_the_readmes_own_code_runs(tmp_path, two_towers):
  original = original_of(two_towers)
  stablehlo.write(original, tmp_path)
  blocks = re.findall(
    r"```python\n(.*?)```", (tmp_path / "README.md").read_text(), re.S
  )
  assert (tmp_path / "passage_model.stablehlo").is_file() == two_towers
  loader = blocks[0].splitlines()
  assert len(loader) == 5 if two_towers else 3
  done = subprocess.run(
    [sys.executable, "-c", "\n".join([READER, *blocks, PRINT])],
    cwd=tmp_path,
    check=True,
    capture_output=True,
    text=True,
  )
  came = json.loads(done.stdout.splitlines()[-1])
  texts = {
    "query": "how do I parse json",
    "passage": "json: encoder and decoder",
  }
  for tower, actual in zip(original_lib.TOWERS, came, strict=True):
    text = texts[tower]
    rows, _ = tokenizer().encode([text], original.length(tower), tower)
    due = expected_of(original, rows[0][None], tower)
    np.testing.assert_allclose(np.float32(actual), due, atol=1e-6)


@pytest.mark.parametrize("platform", stablehlo.PLATFORMS)
def test_each_platform_has_its_program(exported, platform):
  """No loop over blocks, a CPU's way, and nothing that one of them lacks."""
  _, directory = exported
  program = bytearray((directory / "model.stablehlo").read_bytes())
  called = jax.jit(jax.export.deserialize(program).call)
  arrays = {
    name: jax.ShapeDtypeStruct(array.shape, array.dtype)
    for name, array in safetensors.load_file(
      directory / "model.safetensors"
    ).items()
  }
  tokens = jax.ShapeDtypeStruct((64, 128), jnp.int32)
  traced = called.trace(arrays, tokens)
  text = traced.lower(lowering_platforms=(platform,)).as_text()
  assert "stablehlo.dot_general" in text and "stablehlo.while" not in text
  assert set(re.findall(r"custom_call @(\w+)", text)) <= {"shape_assertion"}


@pytest.mark.parametrize(
  "pooling_fn",
  [pooling.first, pooling.last, pooling.maximum, pooling.Attention()],
)
def test_every_pooling_goes_through(tmp_path, pooling_fn):
  original = original_of(pooling_fn=pooling_fn, num_layers=0)
  stablehlo.write(original, tmp_path)
  tokens = np.array([[5, 6, 7, 1], [9, 1, 0, 0]], np.int32)
  actual = stablehlo.open_towers(tmp_path)(tokens, "passage")
  due = expected_of(original, tokens, "passage")
  np.testing.assert_allclose(actual, due, atol=1e-6)


def test_shards_are_one_model(tmp_path, monkeypatch):
  small = functools.partial(safetensors_files.write, max_bytes=8_000)
  monkeypatch.setattr(safetensors_files, "write", small)
  original = original_of()
  # What no tower reads stays behind.
  params = {**original.params, "temperature": {"logit": jnp.zeros(())}}
  original = dataclasses.replace(original, params=params)
  stablehlo.write(original, tmp_path)
  index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
  files = sorted(tmp_path.glob("*.safetensors"))
  assert sorted(set(index["weight_map"].values())) == [f.name for f in files]
  assert files[0].name == f"model-00001-of-{len(files):05}.safetensors"
  assert len(files) > 2
  due = names.flatten(original_of().params)
  for file in files:
    for name, array in safetensors.load_file(file).items():
      assert index["weight_map"][name] == file.name
      np.testing.assert_array_equal(array, due.pop(name))
  assert not due
  size = sum(x.nbytes for x in names.flatten(original_of().params).values())
  assert index["metadata"]["total_size"] == size
  tokens = np.array([[5, 6, 7, 1]], np.int32)
  np.testing.assert_allclose(
    stablehlo.open_towers(tmp_path)(tokens, "query"),
    expected_of(original, tokens, "query"),
    atol=1e-6,
  )


def test_bfloat16_arrays_are_halves(tmp_path):
  original = dataclasses.replace(original_of(), dtype="bfloat16")
  stablehlo.write(original, tmp_path)
  size = sum(x.nbytes for x in names.flatten(original.params).values())
  written = (tmp_path / "model.safetensors").stat().st_size
  assert size // 2 <= written < size // 2 + 5_000
  tokens = np.array([[5, 6, 7, 1]], np.int32)
  actual = stablehlo.open_towers(tmp_path)(tokens, "query")
  assert actual.dtype == np.float32
  due = expected_of(original, tokens, "query")
  np.testing.assert_allclose(actual, due, atol=2.0**-8)


def test_another_vocabulary_is_not_kept(tmp_path, monkeypatch):
  write = stablehlo.write

  def poisoned(original, directory):
    write(original, directory)
    other = vocabulary.train(TEXT[:1], 300).model_bytes
    (directory / "spiece.model").write_bytes(other)

  monkeypatch.setattr(stablehlo, "write", poisoned)
  with pytest.raises(ValueError, match="reads the query"):
    artifact.make(original_of(), stablehlo, tmp_path / "folder")
  assert not list(tmp_path.iterdir())


def test_a_folder_without_towers_is_told(tmp_path):
  with pytest.raises(ValueError, match="no such file"):
    towers.read(tmp_path)
  (tmp_path / "towers.json").write_text('{"query": {}}')
  with pytest.raises(ValueError, match="not the towers of an export"):
    towers.read(tmp_path)


def cut(path):
  path.write_bytes(path.read_bytes()[:-100])


def renamed(path):
  arrays = safetensors.load_file(path)
  arrays["encoder/other"] = arrays.pop("encoder/encoder_norm/scale")
  safetensors.save_file(arrays, path)


def reshaped(path):
  arrays = safetensors.load_file(path)
  arrays["projection_layer/kernel"] = np.zeros((16, 13), np.float32)
  safetensors.save_file(arrays, path)


@pytest.mark.parametrize(
  "name, harm, match",
  [
    ("model.stablehlo", cut, "broken, cut, or of a JAX"),
    ("model.stablehlo", pathlib.Path.unlink, "model.stablehlo: no such file"),
    ("model.safetensors", cut, "model.safetensors: broken or cut"),
    ("model.safetensors", pathlib.Path.unlink, "safetensors: no such file"),
    ("model.safetensors", renamed, "encoder_norm/scale is missing"),
    ("model.safetensors", reshaped, r"kernel is float32 \[16, 13\], the prog"),
  ],
)
def test_broken_folders_are_told(tmp_path, exported, name, harm, match):
  shutil.copytree(exported[1], tmp_path, dirs_exist_ok=True)
  harm(tmp_path / name)
  with pytest.raises(ValueError, match=match) as error:
    stablehlo.open_towers(tmp_path)
  assert "\n" not in str(error.value)
