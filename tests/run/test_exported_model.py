"""Every format that is written or read is a model for `gtr_jax.load`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import gtr_jax
from gtr_jax.data import vocabulary
from gtr_jax.export import check, nearness
from gtr_jax.run import encode, export, gin_config, model_directory
from gtr_jax.types import TowerName

CONFIG = """\
from __gin__ import dynamic_registration
from gtr_jax.layers import mlp
from gtr_jax.models import dual_encoder
from gtr_jax.models import t5_encoder
from gtr_jax.models import text_encoder

MODEL = @dual_encoder.DualEncoder()
dual_encoder.DualEncoder.query_encoder = @text_encoder.TextEncoder()
text_encoder.TextEncoder:
  encoder = @t5_encoder.T5Encoder()
  vocab_size = 384
  embed_dim = 16
  projection_dim = 12
t5_encoder.T5Encoder:
  num_layers = 1
  num_heads = 2
  head_dim = 8
  mlp_dim = 24
  activations = (@mlp.gelu_gate, @mlp.linear_gate)
  dtype = "float32"
"""
TEXTS = ["how do I load it", "", "a longer text, which is cut " * 9]
NEEDS = {
  "onnx": ("onnx", "onnxruntime", "tokenizers"),
  "sentence-transformers": ("safetensors", "tokenizers"),
  "stablehlo": ("safetensors",),
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
  directory = tmp_path_factory.mktemp("models") / "model"
  directory.mkdir()
  config = directory / "config.gin"
  config.write_text(CONFIG)
  model = gin_config.macro_of_file(config, "MODEL")
  tokens = jnp.ones((1, 2), jnp.int32)
  params = nn.meta.unbox(model.init(jax.random.key(0), tokens, tokens))
  tokenizer = vocabulary.train(
    ["how do I load it, a longer text"] * 9,
    300,
    query_prompt="query: ",
    passage_prompt="passage: ",
  )
  model_directory.write(directory, CONFIG, params["params"], tokenizer, 7)
  return directory


def exported(model, form, output, monkeypatch):
  """The folder, without the comparison, which has tests of its own."""
  for library in NEEDS.get(form, ()):
    pytest.importorskip(library, reason=f"--format={form} needs it")
  near = nearness.Nearness(0.0, 1.0, 1.0, nearness.FLOAT32, ())
  monkeypatch.setattr(check, "compare", lambda *_: check.Comparison(near, 0, 0))
  monkeypatch.setattr(export._format(form), "load", lambda _: None)
  arguments = [f"--format={form}", f"--model={model}", f"--output={output}"]
  lengths = ["--query_length=16", "--passage_length=16"]
  assert export.main([*arguments, *lengths]) == 0
  return output


@pytest.mark.parametrize("form", export.FORMATS)
def test_an_export_is_loaded_and_gives_the_same(
  model, tmp_path, monkeypatch, form
):
  folder = exported(model, form, tmp_path / "folder", monkeypatch)
  due = gtr_jax.load(model, query_length=16, passage_length=16)
  # As long as it was exported for.
  read = gtr_jax.load(folder)
  assert (read.query_length, read.passage_length) == (16, 16)
  np.testing.assert_allclose(
    read.encode_queries(TEXTS), due.encode_queries(TEXTS), atol=1e-6
  )
  passages = [{"title": "a", "text": text} for text in TEXTS]
  np.testing.assert_allclose(
    read.encode_passages(passages), due.encode_passages(passages), atol=1e-6
  )
  ids = np.array([[5, 6, 1, 0], [0, 0, 0, 0]], np.int32)
  actual = read.encode_tokens(ids, "passage")
  np.testing.assert_allclose(
    actual, due.encode_tokens(ids, "passage"), atol=1e-6
  )
  assert not actual[1].any()
  assert read.encode_queries([]).shape == (0, 12)
  assert gtr_jax.load(folder, query_length=3).query_length == 3
  with pytest.raises(ValueError, match="token id 384 is not among"):
    read.encode_tokens(np.array([[384]]))


def test_programs_search_but_are_no_weights(model, tmp_path, monkeypatch):
  folder = exported(model, "stablehlo", tmp_path / "folder", monkeypatch)
  (tmp_path / "corpus.jsonl").write_text('{"_id": "a", "text": "one text"}\n')
  arguments = [f"--input={tmp_path / 'corpus.jsonl'}", "--passage_length=16"]
  arguments.append(f"--output={tmp_path / 'store'}")
  assert encode.main([f"--model={folder}", *arguments]) == 0
  rows = np.load(next((tmp_path / "store").glob("shard-00000*.npy")))
  vector = rows.reshape(-1, 12)[0]
  (due,) = gtr_jax.load(model, passage_length=16).encode_passages(["one text"])
  np.testing.assert_allclose(vector, due, atol=1e-6)
  with pytest.raises(ValueError, match="an export, which encodes and searches"):
    model_directory.load(folder)


@pytest.mark.parametrize("form", ["stablehlo", "onnx", "savedmodel"])
def test_a_folder_that_was_cut_is_one_line(model, tmp_path, monkeypatch, form):
  folder = exported(model, form, tmp_path / "folder", monkeypatch)
  read = [".safetensors", ".stablehlo", ".onnx", ".pb", ".index", ".model"]
  for path in sorted(folder.rglob("*")):
    known = path.suffix in read or path.name == "gtr_export.json"
    if not known or path.name == "fingerprint.pb":
      continue
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    try:
      gtr_jax.load(folder)
    except ValueError as error:
      assert "\n" not in str(error) and str(folder) in str(error)
    else:
      raise AssertionError(f"{path.name} is cut, and nothing is said")
    path.write_bytes(content)
  assert gtr_jax.load(folder)


@pytest.mark.parametrize(
  "content", ["", "[]", "{}", '{"format": ', '{"format": "savedmodel"}']
)
def test_a_broken_description_is_one_line(tmp_path, content):
  (tmp_path / "gtr_export.json").write_text(content)
  with pytest.raises(ValueError, match=r"gtr_export.json: broken, cut or of"):
    gtr_jax.load(tmp_path)


@pytest.mark.parametrize(
  "name", ["trained_legacy", "trained_orbax_zarr", "trained_orbax_ocdbt"]
)
def test_checkpoints_of_t5x_are_loaded(shared_data, name):
  golden = np.load(shared_data / "t5x/trained_golden.npz")
  read = gtr_jax.load(shared_data / "t5x" / name)
  assert read.tokenizer is None
  sides: dict[TowerName, str] = {"query": "left", "passage": "right"}
  for tower, side in sides.items():
    actual = read.encode_tokens(golden[f"{side}_encoder_input_tokens"], tower)
    due = golden[f"float32/{side}_embeddings"]
    np.testing.assert_allclose(actual, due, atol=1e-5)
