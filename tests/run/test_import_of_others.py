"""Hugging Face's and sentence-transformers' weights as model directories."""

import importlib.util
import json
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

import gtr_jax
from gtr_jax.checkpoints import huggingface, names
from gtr_jax.data import vocabulary
from gtr_jax.run import (
  import_,
  initial_checkpoint,
  model_directory,
  other_libraries,
)

safetensors = pytest.importorskip(
  "safetensors.numpy", reason="needs the extra interop"
)
LAYER = "encoder/layers_0"
# Whole: where transformers is installed it reads the folder, too.
CONFIG = {
  "model_type": "t5",
  "vocab_size": 300,
  "d_model": 6,
  "d_kv": 2,
  "d_ff": 10,
  "num_layers": 1,
  "num_heads": 3,
  "relative_attention_num_buckets": 8,
  "relative_attention_max_distance": 20,
  "feed_forward_proj": "relu",
}
SHAPES = {
  "token_embedder/embedding": (300, 6),
  "encoder/relpos_bias/rel_embedding": (3, 8),
  "encoder/encoder_norm/scale": (6,),
  f"{LAYER}/pre_attention_layer_norm/scale": (6,),
  f"{LAYER}/pre_mlp_layer_norm/scale": (6,),
  f"{LAYER}/mlp/wi/kernel": (6, 10),
  f"{LAYER}/mlp/wo/kernel": (10, 6),
} | {
  f"{LAYER}/attention/{name}/kernel": (6, 6)
  for name in ("query", "key", "value", "out")
}


def write(folder, **more):
  """(our arrays, after writing them as transformers would)"""
  rng = np.random.default_rng(0)
  ours = {k: rng.normal(size=s).astype("f4") for k, s in SHAPES.items()}
  theirs = {
    huggingface.name_of(k): x if "embedder" in k else x.T.copy()
    for k, x in ours.items()
  }
  folder.mkdir()
  (folder / "config.json").write_text(json.dumps(CONFIG))
  safetensors.save_file({**theirs, **more}, folder / "model.safetensors")
  return ours


def write_vocabulary(path, vocab_size=280):
  tokenizer = vocabulary.train(["to be or not to be"] * 3, vocab_size)
  path.write_bytes(tokenizer.model_bytes)
  return tokenizer


def run(tmp_path, capsys, *flags, form="huggingface"):
  """(exit status, result or None, standard error, model directory)"""
  output = tmp_path / "model"
  status = import_.main(
    [f"--format={form}", f"--checkpoint={tmp_path / 'theirs'}"]
    + [f"--output={output}", "--json", *flags]
  )
  captured = capsys.readouterr()
  lines = captured.out.splitlines()
  return status, lines and json.loads(lines[-1]), captured.err, output


def test_t5_becomes_a_model_whose_projection_is_drawn(tmp_path, capsys):
  decoder = {"decoder.final_layer_norm.weight": np.ones(6, np.float32)}
  arrays = write(tmp_path / "theirs", **decoder)
  tokenizer = write_vocabulary(tmp_path / "theirs/spiece.model")
  status, _, error, output = run(tmp_path, capsys)
  assert status == 2 and "lacks projection_layer/kernel" in error
  assert not output.exists()
  status, result, _, output = run(tmp_path, capsys, "--initialize_missing")
  assert status == 0
  assert result["unused"] == list(decoder)
  assert result["missing"] == ["projection_layer/kernel"]
  assert result["parameters"] == sum(x.size for x in arrays.values()) + 6 * 768
  loaded = model_directory.load(output)
  encoder = loaded.model.query_encoder.encoder
  assert encoder.relative_attention_max_distance == 20
  assert loaded.tokenizer is not None
  assert loaded.tokenizer.model_bytes == tokenizer.model_bytes
  actual = names.flatten(loaded.params)
  for name, array in arrays.items():
    np.testing.assert_array_equal(actual[name], array)


def test_a_projection_that_was_not_looked_for_is_hinted_at(tmp_path, capsys):
  write(tmp_path / "theirs")
  (tmp_path / "theirs/modules.json").write_text("[]")
  status, _, error, _ = run(tmp_path, capsys)
  assert status == 2 and error.endswith(
    "modules.json is there: use --format=sentence-transformers\n"
  )


def test_an_array_without_a_place_must_be_allowed(tmp_path, capsys):
  extra = {"encoder.block.0.adapter.weight": np.ones(6, np.float32)}
  write(tmp_path / "theirs", **extra)
  status, _, error, output = run(tmp_path, capsys, "--initialize_missing")
  assert status == 2 and not output.exists() and error.count("\n") == 1
  assert "encoder.block.0.adapter.weight" in error
  status, result, _, _ = run(
    tmp_path, capsys, "--initialize_missing", "--allow_unused"
  )
  assert status == 0 and result["unused"] == list(extra)


@pytest.mark.parametrize("form", ["t5x", "sentence-transformers"])
def test_the_format_it_looks_like_is_told(tmp_path, capsys, form):
  write(tmp_path / "theirs")
  status, _, error, _ = run(tmp_path, capsys, form=form)
  assert status == 2 and error.count("\n") == 1
  assert error.endswith("; it looks like --format=huggingface\n")


def test_a_bucket_or_a_file_is_no_folder_of_theirs(tmp_path, capsys):
  for path, match in (
    ("gs://bucket/model", "copy it to this machine first"),
    (str(write_file(tmp_path / "model.safetensors")), "is a file; give the"),
  ):
    status = import_.main(
      ["--format=huggingface", f"--checkpoint={path}", "--output=model"]
    )
    error = capsys.readouterr().err
    assert status == 2 and match in error and error.count("\n") == 1


def write_file(path):
  path.write_bytes(b"")
  return path


def test_half_an_encoder_is_never_drawn(tmp_path, capsys):
  write(tmp_path / "theirs")
  path = tmp_path / "theirs/model.safetensors"
  arrays = safetensors.load_file(path)
  del arrays["encoder.block.0.layer.0.SelfAttention.k.weight"]
  safetensors.save_file(arrays, path)
  status, _, error, output = run(tmp_path, capsys, "--initialize_missing")
  assert status == 2 and not output.exists() and error.count("\n") == 1
  assert "lacks encoder/layers_0/attention/key/kernel, without" in error


@pytest.mark.parametrize(
  "flags, match",
  [
    (["--relative_attention_max_distance=128"], "its config says 20"),
    ([], "lacks projection_layer/kernel"),
  ],
)
def test_mistakes_are_one_line(tmp_path, capsys, flags, match):
  write(tmp_path / "theirs")
  status, _, error, output = run(tmp_path, capsys, *flags)
  assert status == 2 and match in error and error.count("\n") == 1
  assert not output.exists()


def test_a_vocabulary_of_another_model_is_refused(tmp_path, capsys):
  write(tmp_path / "theirs")
  many = [f"w{chr(97 + i % 26)}{chr(97 + i // 26)}x{i}" for i in range(400)]
  tokenizer = vocabulary.train(many, 400)
  assert tokenizer.vocab_size > 300
  path = tmp_path / "theirs/spiece.model"
  path.write_bytes(tokenizer.model_bytes)
  status, _, error, _ = run(tmp_path, capsys, "--initialize_missing")
  assert status == 2 and "has 300 rows" in error and error.count("\n") == 1


def test_a_forgotten_projection_is_pointed_to(tmp_path, capsys):
  write(tmp_path / "theirs")
  (tmp_path / "theirs/modules.json").write_text("[]")
  status, _, error, _ = run(tmp_path, capsys)
  assert status == 2 and "use --format=sentence-transformers" in error


def test_a_stage_starts_from_their_weights(tmp_path):
  arrays = write(tmp_path / "theirs")
  write_vocabulary(tmp_path / "theirs/spiece.model")
  params = names.unflatten(
    {
      **{name: jnp.zeros(shape) for name, shape in SHAPES.items()},
      "projection_layer/kernel": jnp.full((6, 4), 5.0),
    }
  )
  said = []
  path = str(tmp_path / "theirs")
  loaded = names.flatten(initial_checkpoint.load(path, params, said.append))
  for name, array in arrays.items():
    np.testing.assert_array_equal(loaded[name], array)
  assert float(loaded["projection_layer/kernel"][0, 0]) == 5.0
  assert len(said) == 2 and "projection_layer/kernel" in said[1]
  assert "relative positions end at 20" in said[0]
  found = initial_checkpoint.inherited_vocabulary(path)
  assert found is not None and found.name == "spiece.model"
  assert other_libraries.inherited_tokenizer(found).query_prompt == ""
  # A folder of sentence-transformers brings its prompts.
  prompts = {"prompts": {"query": "find: ", "document": "text: "}}
  (tmp_path / "theirs/modules.json").write_text("[]")
  (tmp_path / "theirs/config_sentence_transformers.json").write_text(
    json.dumps(prompts)
  )
  tokenizer = other_libraries.inherited_tokenizer(found)
  assert (tokenizer.query_prompt, tokenizer.passage_prompt) == (
    "find: ",
    "text: ",
  )


def test_a_plain_t5_is_no_model_yet(tmp_path):
  write(tmp_path / "theirs")
  with pytest.raises(
    ValueError, match="lacks projection_layer/kernel; make a model"
  ):
    model_directory.load(tmp_path / "theirs")


# A random encoder of transformers, of sentence-transformers' modules, and what
# they make of token ids.
_THEIRS = """
import sys, numpy, torch, transformers
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import modules
import sentence_transformers.base.modules as base
folder, forward = sys.argv[1:]
torch.manual_seed(0)
model = transformers.T5EncoderModel(transformers.T5Config(
  vocab_size=300, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=3,
  relative_attention_num_buckets=8, relative_attention_max_distance=20,
  feed_forward_proj=forward)).eval()
for parameter in model.parameters():
  parameter.data += 0.2 * torch.randn_like(parameter)
model.save_pretrained(folder + "/plain")
transformers.T5Tokenizer.from_pretrained(folder).save_pretrained(
  folder + "/plain")
whole = SentenceTransformer(modules=[
  modules.Transformer(folder + "/plain"), modules.Pooling(32, "mean"),
  base.Dense(32, 24, bias=False, activation_function=torch.nn.Identity()),
  base.Normalize()])
whole.save(folder + "/theirs")
tokens = numpy.load(folder + "/tokens.npy")
ids = torch.tensor(tokens, dtype=torch.long)
with torch.no_grad():
  features = {"input_ids": ids, "attention_mask": (ids > 0).long()}
  numpy.save(folder + "/embeddings.npy",
             whole(features)["sentence_embedding"].numpy())
"""


@pytest.mark.parametrize("forward", ["relu", "gated-gelu"])
def test_the_embeddings_are_those_of_their_library(tmp_path, capsys, forward):
  for library in ("torch", "transformers", "sentence_transformers"):
    if importlib.util.find_spec(library) is None:
      pytest.skip(f"{library} is not installed; it is no requirement")
  rng = np.random.default_rng(0)
  tokens = rng.integers(3, 300, (4, 40)).astype(np.int32)
  tokens[np.arange(40)[None, :] >= np.array([[40], [7], [1], [23]])] = 0
  np.save(tmp_path / "tokens.npy", tokens)
  write_vocabulary(tmp_path / "spiece.model")
  subprocess.run(
    [sys.executable, "-c", _THEIRS, str(tmp_path), forward],
    check=True,
    capture_output=True,
  )
  status, result, _, output = run(
    tmp_path, capsys, form="sentence-transformers"
  )
  assert status == 0 and result["missing"] == result["unused"] == []
  loaded = model_directory.load(output)
  # From the tokenizer.json that transformers saved.
  assert loaded.tokenizer is not None and loaded.tokenizer.eos_id == 1
  actual = loaded.model.apply(
    {"params": loaded.params}, tokens, method="encode_query"
  )
  due = np.load(tmp_path / "embeddings.npy")
  assert np.abs(np.asarray(actual) - due).max() <= 1e-5
  directly = gtr_jax.load(tmp_path / "theirs").encode_tokens(tokens, "query")
  assert np.abs(directly - due).max() <= 1e-5
