"""Model directories with random parameters, made once and read once."""

import functools
import json

import jax
import numpy as np
import pytest
from flax import linen as nn

from gtr_jax.data import vocabulary
from gtr_jax.run import gin_config, model_directory

CONFIG = """
from __gin__ import dynamic_registration
from gtr_jax.models import dual_encoder
from gtr_jax.models import t5_encoder
from gtr_jax.models import text_encoder

MODEL = @dual_encoder.DualEncoder()
dual_encoder.DualEncoder.query_encoder = @text_encoder.TextEncoder()
text_encoder.TextEncoder:
  encoder = @t5_encoder.T5Encoder()
  vocab_size = 512
  embed_dim = 16
  projection_dim = 24
t5_encoder.T5Encoder:
  num_layers = 2
  num_heads = 2
  head_dim = 8
  mlp_dim = 32
  dtype = "float32"
"""
SENTENCES = [
  "green tea leaves steep in hot water",
  "coffee beans are roasted and ground",
  "milk and sugar sweeten the cup",
]


@pytest.fixture
def call_program(capsys):
  def call(main, *arguments):
    """(exit status, result or None, standard error)"""
    status = main([*map(str, arguments), "--json"])
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    return status, json.loads(lines[-1]) if lines else None, captured.err

  return call


@pytest.fixture(scope="session")
def toy_models(tmp_path_factory):
  """Two model directories of one vocabulary with other parameters."""
  directory = tmp_path_factory.mktemp("models")
  (directory / "config.gin").write_text(CONFIG)
  model = gin_config.macro_of_file(directory / "config.gin", "MODEL")
  tokenizer = vocabulary.train(SENTENCES * 20, vocab_size=320, seed=0)
  tokens = np.ones((1, 4), np.int32)
  for seed in (0, 1):
    boxed = model.init(jax.random.key(seed), tokens, method="encode_query")
    model_directory.write(
      directory / f"model_{seed}", CONFIG, nn.unbox(boxed)["params"], tokenizer
    )
  return directory / "model_0", directory / "model_1"


@pytest.fixture(scope="session")
def toy_model(toy_models):
  return toy_models[0]


_read_once = functools.cache(model_directory.encoder)


@pytest.fixture
def quick_models(monkeypatch):
  """A model is read and compiled by the first test that needs it."""
  monkeypatch.setattr(model_directory, "encoder", _read_once)
