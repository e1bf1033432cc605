"""Folders of ONNX models: read by onnxruntime and tokenizers alone."""

import dataclasses
import functools
import importlib
import json
import pathlib
import re
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from gtr_jax.data import vocabulary
from gtr_jax.export import artifact, onnx_file, onnx_graph, onnx_model
from gtr_jax.export import original as original_lib
from gtr_jax.layers import mlp, pooling
from gtr_jax.models import dual_encoder, t5_encoder, text_encoder

tokenizers = pytest.importorskip("tokenizers", reason="needs the extra onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra onnx")
onnx = pytest.importorskip("onnx", reason="needs the extra onnx")

TEXT = [
  "A graph that any runtime of ONNX reads, free in rows and in length.",
  "Prompts, EOS and the cut to the length are there, too; 12,345 of them!",
  "Ünïcödé texts – naïve café, Straße, 日本語, русский – are read alike.",
] * 20
GATED = (mlp.gelu_gate, mlp.linear_gate)
POOLINGS = [
  pooling.mean,
  pooling.first,
  pooling.last,
  pooling.maximum,
  pooling.Attention(),
]


@functools.cache
def tokenizer():
  return vocabulary.train(TEXT, 400, query_prompt="query: ")


def original_of(two_towers=False, pooling_fn=pooling.mean, **settings):
  settings = {
    "num_layers": 2,
    "num_heads": 2,
    "head_dim": 8,
    "mlp_dim": 24,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 20,
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


def expected_of(original, tokens, tower="query"):
  encode = jax.jit(original.encoders()[tower])
  return np.asarray(encode(original.params, tokens))


def tokens_of(rows, length):
  """Random ids, all but the first row shorter than the length."""
  rng = np.random.default_rng(rows * 1000 + length)
  tokens = rng.integers(1, 420, (rows, length)).astype(np.int32)
  tokens[1:, length // 2 + 1 :] = 0
  return tokens


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
  """Separate towers of T5 1.1, exported."""
  original = original_of(two_towers=True, activations=GATED)
  directory = tmp_path_factory.mktemp("exports") / "folder"
  comparison = artifact.make(original, onnx_model, directory)
  assert comparison.near.max_difference <= 1e-6 and not comparison.num_ties
  return original, directory


def session_of(directory, name="query_model"):
  return onnxruntime.InferenceSession(
    directory / f"{name}.onnx", providers=["CPUExecutionProvider"]
  )


def run(session, tokens, mask=None, outputs=None):
  mask = np.sign(tokens) if mask is None else mask
  inputs = {"input_ids": tokens, "attention_mask": mask}
  inputs = {name: np.asarray(x, np.int64) for name, x in inputs.items()}
  return session.run(outputs or [onnx_graph.TEXT_OUTPUT], inputs)[0]


def test_the_folder_and_its_description(exported):
  _, directory = exported
  assert sorted(p.name for p in directory.iterdir()) == [
    ".gitattributes",
    "README.md",
    "config.json",
    "gtr_export.json",
    "parity.json",
    "passage_model.onnx",
    "query_model.onnx",
    "special_tokens_map.json",
    "spiece.model",
    "tokenizer.json",
    "tokenizer_config.json",
    "towers.json",
  ]
  parity = json.loads((directory / "parity.json").read_text())
  version = onnxruntime.__version__
  assert parity["checked_by"] == f"onnxruntime {version}"
  model = onnx.load(directory / "query_model.onnx")
  onnx.checker.check_model(model, full_check=True)
  assert (model.ir_version, model.opset_import[0].version) == (8, 17)
  # All that is stored is read, and under T5X's names.
  stored = {tensor.name for tensor in model.graph.initializer}
  assert "encoder/layers_1/mlp/wi_0/kernel" in stored
  assert stored <= {name for node in model.graph.node for name in node.input}


def test_towers_of_any_shape(exported):
  original, directory = exported
  encode = onnx_model.open_towers(directory)
  for rows, length in [(0, 5), (3, 0), (1, 1), (7, 150)]:
    tokens = tokens_of(rows, length)
    for tower in original_lib.TOWERS:
      actual = encode(tokens, tower)
      assert actual.shape == (rows, 12) and actual.dtype == np.float32
      if rows and length:
        due = expected_of(original, tokens, tower)
        np.testing.assert_allclose(actual, due, atol=1e-6)
      else:
        assert not actual.any()


def test_the_graph_itself_takes_no_rows(exported):
  assert run(session_of(exported[1]), np.zeros((0, 3))).shape == (0, 12)


def test_padding_changes_nothing(exported):
  session = session_of(exported[1])
  alone = tokens_of(1, 9)
  among = np.zeros((3, 70), np.int32)
  among[1, :9] = alone
  among[2] = tokens_of(1, 70)
  due = run(session, alone)[0]
  np.testing.assert_allclose(run(session, among)[1], due, atol=1e-6)
  # A mask that takes padding for tokens does no harm, one that hides a token
  # counts.
  everything = np.ones_like(among)
  actual = run(session, among, everything)
  np.testing.assert_array_equal(actual, run(session, among))
  everything[1, 4] = 0
  assert np.abs(run(session, among, everything)[1] - due).max() > 1e-2
  assert not run(session, among, 0 * everything).any()


def test_the_mean_of_the_tokens_is_the_same_embedding(exported):
  """As Vespa, fastembed and transformers.js compute it."""
  session = session_of(exported[1])
  assert [x.name for x in session.get_outputs()] == [
    "last_hidden_state",
    "sentence_embedding",
  ]
  tokens = tokens_of(5, 40)
  states = run(session, tokens, outputs=["last_hidden_state"])
  mask = np.sign(tokens)[:, :, None]
  mean = (states * mask).sum(1) / mask.sum(1)
  mean /= np.linalg.norm(mean, axis=1, keepdims=True)
  np.testing.assert_allclose(mean, run(session, tokens), atol=5e-6)


@pytest.mark.parametrize(
  "pooling_fn", POOLINGS, ids=lambda f: getattr(f, "__name__", type(f).__name__)
)
def test_every_pooling_of_t5_1_0(tmp_path, pooling_fn):
  original = original_of(pooling_fn=pooling_fn, num_layers=1)
  graph, outputs = onnx_graph.of_tower(*onnx_model._tower(original, "query"))
  assert ("last_hidden_state" in outputs) == (pooling_fn is pooling.mean)
  onnx_file.write(graph, outputs, tmp_path / "model.onnx")
  tokens = tokens_of(4, 50)
  tokens[3] = 0  # A text without a token gives zeros.
  actual = run(session_of(tmp_path, "model"), tokens)
  due = expected_of(original, tokens)
  np.testing.assert_allclose(actual, due, atol=1e-6)
  assert not actual[3].any()


def other_pooling(x, member):
  return pooling.mean(x, member)


@pytest.mark.parametrize(
  "settings, match",
  [
    ({"pooling_fn": other_pooling}, "the model's pooling, other_pooling, has"),
    ({"activations": (nn.silu,)}, "activations are neither"),
  ],
)
def test_what_has_no_form_is_refused(tmp_path, settings, match):
  with pytest.raises(ValueError, match=match):
    artifact.make(original_of(**settings), onnx_model, tmp_path / "folder")
  assert not list(tmp_path.iterdir())


def test_bfloat16_is_refused(tmp_path):
  original = dataclasses.replace(original_of(), dtype="bfloat16")
  with pytest.raises(ValueError, match="--dtype=bfloat16 has no form for ONNX"):
    artifact.make(original, onnx_model, tmp_path / "folder")
  assert not list(tmp_path.iterdir())


READER = """
import sys
sys.modules.update(jax=None, flax=None, tensorflow=None, gtr_jax=None)
"""
PRINT = "\nprint(json.dumps([queries.tolist(), passages.tolist()]))\n"


def test_large_arrays_stand_beside_and_the_readmes_code_runs(
  tmp_path, monkeypatch
):
  monkeypatch.setattr(onnx_file, "INLINE_BYTES", 1_000)
  original = original_of()
  onnx_model.write(original, tmp_path)
  size = (tmp_path / "model.onnx_data").stat().st_size
  assert size > 5 * 2**16 > (tmp_path / "model.onnx").stat().st_size
  onnx.checker.check_model(tmp_path / "model.onnx", full_check=True)
  blocks = re.findall(
    r"```python\n(.*?)```", (tmp_path / "README.md").read_text(), re.S
  )
  done = subprocess.run(
    [sys.executable, "-c", "\n".join([READER, *blocks, PRINT])],
    cwd=tmp_path,
    check=True,
    capture_output=True,
    text=True,
  )
  modules = json.loads((tmp_path / "modules.json").read_text())
  kinds = [module["type"].rpartition(".")[2] for module in modules]
  assert kinds == ["Transformer", "Pooling", "Normalize"]
  width = json.loads((tmp_path / "1_Pooling/config.json").read_text())
  assert width["word_embedding_dimension"] == 12
  texts = {
    "query": "how do I parse json",
    "passage": "json: encoder and decoder",
  }
  came = json.loads(done.stdout.splitlines()[-1])
  for tower, actual in zip(original_lib.TOWERS, came, strict=True):
    rows, _ = tokenizer().encode([texts[tower]], original.length(tower), tower)
    due = expected_of(original, rows[0][None], tower)
    np.testing.assert_allclose(np.float32(actual), due, atol=1e-6)


@pytest.mark.parametrize("length", [1, 5])
def test_texts_are_cut_and_end_with_eos(tmp_path, length):
  original = dataclasses.replace(
    original_of(num_layers=0), query_length=length, passage_length=3
  )
  comparison = artifact.make(original, onnx_model, tmp_path / "folder")
  assert comparison.near.max_difference <= 1e-6


def test_a_wrong_matrix_is_not_kept(tmp_path, monkeypatch):
  write = onnx_model.write

  def poisoned(original, directory):
    params = jax.tree.map(np.array, original.params)
    params["encoder"]["layers_0"]["mlp"]["wo"]["kernel"][3] *= 1.1
    write(dataclasses.replace(original, params=params), directory)

  monkeypatch.setattr(onnx_model, "write", poisoned)
  with pytest.raises(ValueError, match="differ by"):
    artifact.make(original_of(), onnx_model, tmp_path / "folder")
  assert not list(tmp_path.iterdir())


def test_sentence_transformers_onnx_backend_gives_the_same(tmp_path):
  for library in ("torch", "sentence_transformers", "optimum.onnxruntime"):
    reason = f"{library} is not installed; it is no requirement"
    pytest.importorskip(library, reason=reason)
  library = importlib.import_module("sentence_transformers")
  original = original_of()
  onnx_model.write(original, tmp_path)
  model = library.SentenceTransformer(str(tmp_path), backend="onnx")
  texts = ["one text", "", "</s> a longer one " * 20]
  rows, _ = tokenizer().encode(texts, 32, "query")
  due = expected_of(original, vocabulary.pad(rows, 32))
  actual = model.encode(texts, prompt_name="query")
  np.testing.assert_allclose(actual, due, atol=1e-5)


@pytest.mark.parametrize(
  "harm, match",
  [
    (pathlib.Path.unlink, "query_model.onnx: no such file"),
    (lambda path: path.write_bytes(b"no graph"), "onnxruntime does not read"),
    (
      lambda path: path.write_bytes(path.read_bytes()[:-999]),
      "onnxruntime does not read",
    ),
  ],
)
def test_broken_folders_are_told(tmp_path, exported, harm, match):
  shutil.copytree(exported[1], tmp_path, dirs_exist_ok=True)
  harm(tmp_path / "query_model.onnx")
  with pytest.raises(ValueError, match=match) as error:
    onnx_model.open_towers(tmp_path)
  assert "\n" not in str(error.value)
