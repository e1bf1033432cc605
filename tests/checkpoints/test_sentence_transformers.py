"""Folders of sentence-transformers, made by hand."""

import json

import numpy as np
import pytest

from gtr_jax.checkpoints import huggingface, sentence_transformers

safetensors = pytest.importorskip(
  "safetensors.numpy", reason="needs the extra interop"
)

NORMALIZE = "sentence_transformers.models.Normalize"
MODULES = {
  "": "sentence_transformers.models.Transformer",
  "1_Pooling": "sentence_transformers.models.Pooling",
  "2_Dense": "sentence_transformers.models.Dense",
  "3_Normalize": NORMALIZE,
}
LAYER = "encoder/layers_0"
SHAPES = {
  "token_embedder/embedding": (20, 6),
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
POOLING = {"word_embedding_dimension": 6, "pooling_mode_mean_tokens": True}
DENSE = {
  "in_features": 6,
  "out_features": 5,
  "bias": False,
  "activation_function": "torch.nn.modules.linear.Identity",
}
PROMPTS = {"prompts": {"query": "find: ", "document": "text: "}}
PROJECTION = np.arange(30, dtype=np.float32).reshape(5, 6)


def dump(path, content):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(json.dumps(content))


@pytest.fixture
def folder(tmp_path):
  rng = np.random.default_rng(0)
  arrays = {
    huggingface.name_of(name): rng.normal(
      size=shape if name.startswith("token") else shape[::-1]
    ).astype(np.float32)
    for name, shape in SHAPES.items()
  }
  config = {"model_type": "t5", "relative_attention_max_distance": 20}
  dump(tmp_path / "config.json", config)
  safetensors.save_file(arrays, tmp_path / "model.safetensors")
  dump(tmp_path / "1_Pooling/config.json", POOLING)
  dump(tmp_path / "2_Dense/config.json", DENSE)
  safetensors.save_file(
    {"linear.weight": PROJECTION}, tmp_path / "2_Dense/model.safetensors"
  )
  write_modules(tmp_path, MODULES)
  dump(tmp_path / "config_sentence_transformers.json", PROMPTS)
  dump(tmp_path / "sentence_bert_config.json", {"max_seq_length": 512})
  return tmp_path


def write_modules(folder, modules):
  listed = [
    {"idx": n, "name": str(n), "path": path, "type": kind}
    for n, (path, kind) in enumerate(modules.items())
  ]
  dump(folder / "modules.json", listed)


def test_the_dense_is_the_projection_and_the_prompts_come_along(folder):
  read = sentence_transformers.read(folder)
  assert {k: x.shape for k, x in read.arrays.items()} == SHAPES | {
    "projection_layer/kernel": (6, 5)
  }
  np.testing.assert_array_equal(
    np.asarray(read.arrays["projection_layer/kernel"]), PROJECTION.T
  )
  assert (read.query_prompt, read.passage_prompt) == ("find: ", "text: ")
  assert (read.max_length, read.max_distance) == (512, 20)
  assert read.unused == ()


def test_names_of_later_versions_are_read(folder):
  modules = {
    "": "sentence_transformers.base.modules.transformer.Transformer",
    "1_Pooling": "sentence_transformers.sentence_transformer.modules.pooling"
    ".Pooling",
    "2_Dense": "sentence_transformers.base.modules.dense.Dense",
    "3_Normalize": "sentence_transformers.base.modules.normalize.Normalize",
  }
  write_modules(folder, modules)
  dump(
    folder / "1_Pooling/config.json",
    {"embedding_dimension": 6, "pooling_mode": "mean"},
  )
  assert sentence_transformers.read(folder).max_length == 512


@pytest.mark.parametrize(
  ("length", "due"), [(48, 48), (10**30, None), (1e30, None), (None, None)]
)
def test_a_length_that_only_the_tokenizer_has_is_read(folder, length, due):
  dump(folder / "sentence_bert_config.json", {"module_output_name": "x"})
  dump(folder / "tokenizer_config.json", {"model_max_length": length})
  assert sentence_transformers.read(folder).max_length == due


def test_the_length_beside_the_weights_comes_first(folder):
  dump(folder / "tokenizer_config.json", {"model_max_length": 48})
  assert sentence_transformers.read(folder).max_length == 512


def test_without_a_dense_the_projection_changes_nothing(folder):
  write_modules(folder, {k: v for k, v in MODULES.items() if k != "2_Dense"})
  said = []
  read = sentence_transformers.read(folder, said.append)
  np.testing.assert_array_equal(
    np.asarray(read.arrays["projection_layer/kernel"]), np.eye(6)
  )
  assert len(said) == 1 and "the projection is the identity" in said[0]


@pytest.mark.parametrize(
  "prompts, default, due",
  [
    ({"query": "q: ", "passage": "p: "}, None, ("q: ", "p: ")),
    ({"both": "b: "}, "both", ("b: ", "b: ")),
    ({"query": "", "both": "b: "}, "both", ("", "b: ")),
    ({"both": "b: "}, None, ("", "")),
  ],
)
def test_prompts_are_chosen_as_their_library_does(
  folder, prompts, default, due
):
  content = {"prompts": prompts, "default_prompt_name": default}
  dump(folder / "config_sentence_transformers.json", content)
  read = sentence_transformers.read(folder)
  assert (read.query_prompt, read.passage_prompt) == due


def modules_without(name):
  def change(folder):
    write_modules(folder, {k: v for k, v in MODULES.items() if k != name})

  return change


def config(path, **content):
  def change(folder):
    file = folder / path
    dump(file, json.loads(file.read_text()) | content)

  return change


def router(folder):
  write_modules(folder, {"": "sentence_transformers.models.Router"})


def no_list(folder):
  dump(folder / "modules.json", {"idx": 0})


def prompts_of(prompts):
  def change(folder):
    file = folder / "config_sentence_transformers.json"
    dump(file, {"prompts": prompts})

  return change


def biased(folder):
  arrays = {"weight": PROJECTION}
  safetensors.save_file(arrays, folder / "2_Dense/model.safetensors")


@pytest.mark.parametrize(
  "change, match",
  [
    (modules_without("3_Normalize"), "has no Normalize"),
    (modules_without("1_Pooling"), "modules are Transformer, Dense"),
    (router, "modules are Router; due are"),
    (no_list, "no list of modules"),
    (
      config("1_Pooling/config.json", pooling_mode_cls_token=True),
      r"the pooling is mean_tokens\+cls_token, due is the mean",
    ),
    (config("1_Pooling/config.json", pooling_mode="cls"), "pooling is cls"),
    (config("1_Pooling/config.json", include_prompt=False), "include_prompt"),
    (config("2_Dense/config.json", bias=True), "bias is true"),
    (
      config("2_Dense/config.json", activation_function="torch.nn.Tanh"),
      "activation_function is torch.nn.Tanh",
    ),
    (
      config("2_Dense/config.json", out_features=4),
      r"linear.weight is \(5, 6\), by its config \(4, 6\)",
    ),
    (biased, "holds weight, due is linear.weight"),
    (config("sentence_bert_config.json", do_lower_case=True), "do_lower_case"),
    (
      config("1_Pooling/config.json", pooling_mode_mean_tokens=False),
      "the pooling is none",
    ),
    (prompts_of(["find: "]), "not texts by name"),
    (prompts_of({"query": 3}), "not texts by name"),
  ],
)
def test_what_makes_another_embedding_is_refused(folder, change, match):
  change(folder)
  with pytest.raises(ValueError, match=match) as error:
    sentence_transformers.read(folder)
  assert str(folder) in str(error.value) and "\n" not in str(error.value)
