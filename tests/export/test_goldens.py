"""Exports of T5X's own checkpoints against T5X's own numbers."""

import dataclasses
import importlib
from typing import Any

import numpy as np
import pytest

from gtr_jax.checkpoints import names, sizes, t5x
from gtr_jax.data import vocabulary
from gtr_jax.export import original as original_lib
from gtr_jax.export import own_reading, sentence_transformers
from gtr_jax.models import dual_encoder, t5_encoder, text_encoder

# Folder: golden file, distance from which on relative positions are one.
GOLDENS = {
  "test_de_t5_tiny.checkpoint_1000": ("test_de_t5_tiny_golden.npz", 8),
  "trained_legacy": ("trained_golden.npz", 128),
}
SIDES = {"query": "left", "passage": "right"}


def original_of(shared_data, name, max_distance):
  params = t5x.read_t5x(shared_data / "t5x" / name, False).params
  found = sizes.from_arrays(names.flatten(params))
  encoder = t5_encoder.T5Encoder(
    found.num_layers,
    found.num_heads,
    found.head_dim,
    found.mlp_dim,
    relative_attention_num_buckets=found.num_buckets,
    relative_attention_max_distance=max_distance,
  )
  tower = text_encoder.TextEncoder(encoder, found.vocab_size, found.embed_dim)
  tokenizer = vocabulary.load(shared_data / "vocab/t5_spiece.model")
  model = dual_encoder.DualEncoder(tower)
  return original_lib.Original(model, params, tokenizer, 16, 64, "of T5X", 20)


@pytest.mark.parametrize("form", ["stablehlo", "onnx_model", "saved_model"])
@pytest.mark.parametrize("name", GOLDENS)
def test_exports_give_t5x_embeddings(shared_data, tmp_path, name, form):
  if form == "onnx_model":
    pytest.importorskip("onnx", reason="needs the extra onnx")
    pytest.importorskip("onnxruntime", reason="needs the extra onnx")
  module: Any = importlib.import_module(f"gtr_jax.export.{form}")
  golden, max_distance = GOLDENS[name]
  arrays = np.load(shared_data / "t5x" / golden)
  original = original_of(shared_data, name, max_distance)
  module.write(original, tmp_path)
  encode = module.open_towers(tmp_path)
  for tower, side in SIDES.items():
    actual = encode(arrays[f"{side}_encoder_input_tokens"], tower)
    due = arrays[f"float32/{side}_embeddings"]
    np.testing.assert_allclose(actual, due, atol=1e-5)


@pytest.mark.parametrize("name", GOLDENS)
def test_folders_for_sentence_transformers_hold_that_model(
  shared_data, tmp_path, name
):
  pytest.importorskip("tokenizers", reason="needs the extra interop")
  golden, max_distance = GOLDENS[name]
  arrays = np.load(shared_data / "t5x" / golden)
  original = original_of(shared_data, name, max_distance)
  original = dataclasses.replace(original, query_length=64)
  sentence_transformers.write(original, tmp_path)
  read = own_reading.Loaded(tmp_path)
  for side in SIDES.values():
    tokens = arrays[f"{side}_encoder_input_tokens"]
    due = arrays[f"float32/{side}_embeddings"]
    actual = read._encode(read._params, tokens)
    np.testing.assert_allclose(actual, due, atol=1e-5)
