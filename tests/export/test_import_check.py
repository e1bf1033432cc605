"""An imported model is compared with the library that wrote its weights."""

import dataclasses
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from gtr_jax.data import vocabulary
from gtr_jax.export import consumer_process, import_check
from gtr_jax.models import dual_encoder, t5_encoder, text_encoder

FOLDER = pathlib.Path("theirs")


@pytest.fixture(scope="module")
def tokenizer():
  return vocabulary.train(["an imported model, compared with its writer"], 300)


@pytest.fixture(scope="module")
def imported():
  """(model, params) without layers, so that nothing takes long to compile."""
  encoder = t5_encoder.T5Encoder(
    num_layers=0, num_heads=1, head_dim=4, mlp_dim=8
  )
  model = dual_encoder.DualEncoder(
    text_encoder.TextEncoder(
      encoder, vocab_size=300, embed_dim=8, projection_dim=5
    )
  )
  tokens = jnp.ones((1, 2), jnp.int32)
  params = nn.meta.unbox(model.init(jax.random.key(0), tokens, tokens))
  return model, params["params"]


@dataclasses.dataclass
class Theirs:
  """The definition in float64: mean, unit length, projection if there is one.

  Without layers the encoder is T5's norm alone.
  """

  params: dict
  projects: bool
  reads_marks: bool = False
  tokenizer: vocabulary.Tokenizer | None = None
  length: int = 512

  def of_ids(self, rows, tower):
    params = jax.tree.map(lambda x: np.asarray(x, np.float64), self.params)
    table = params["token_embedder"]["embedding"]
    scale = params["encoder"]["encoder_norm"]["scale"]
    vectors = []
    for row in rows:
      x = table[row]
      x = x / np.sqrt((x**2).mean(1, keepdims=True) + 1e-6) * scale
      mean = x.mean(0)
      if self.projects:
        mean = mean @ params["projection_layer"]["kernel"]
      vectors.append(mean / np.linalg.norm(mean))
    return np.array(vectors, np.float32)

  def token_ids(self, texts, tower):
    if self.tokenizer is None:
      raise ValueError("there is no tokenizer in the folder")
    rows, _ = self.tokenizer.encode(list(texts), self.length, tower)
    ids = vocabulary.pad(rows, max(map(len, rows)))
    marked = ["</s>" in text for text in texts]
    ids[np.array(marked) & self.reads_marks, 0] += 1
    return ids


def compare(monkeypatch, form, theirs, imported, tokenizer, max_length=None):
  monkeypatch.setattr(consumer_process, "version", lambda *names: names[-1])
  monkeypatch.setattr(consumer_process, "Loaded", lambda *args: theirs)
  model, params = imported
  return import_check.compare(
    form, FOLDER, model, params, tokenizer, max_length
  )


@pytest.mark.parametrize("form", ["huggingface", "sentence-transformers"])
@pytest.mark.parametrize("with_texts", [True, False])
def test_the_same_model_passes(
  monkeypatch, imported, tokenizer, form, with_texts
):
  own = tokenizer if with_texts else None
  projects = form == "sentence-transformers"
  theirs = Theirs(imported[1], projects, tokenizer=own)
  found = compare(monkeypatch, form, theirs, imported, own)
  assert 0 < found.near.max_difference <= 1e-6
  assert found.near.top10_overlap == 1.0
  assert found.other_ids == (() if with_texts else None)
  assert found.as_json()["checked_by"] == found.library


@pytest.mark.parametrize("form", ["huggingface", "sentence-transformers"])
def test_another_model_is_refused_with_its_worst_texts(
  monkeypatch, imported, tokenizer, form
):
  params = jax.tree.map(np.array, imported[1])
  # Of one piece alone, the last of a text.
  params["token_embedder"]["embedding"][1] *= -1
  theirs = Theirs(params, form == "sentence-transformers")
  with pytest.raises(ValueError, match="imported model's embeddings") as error:
    compare(monkeypatch, form, theirs, imported, tokenizer)
  # Empty texts are that piece.
  assert "worst: the passage '' (cosine -1.0" in str(error.value)


def test_a_forgotten_projection_is_refused(monkeypatch, imported):
  params = jax.tree.map(np.array, imported[1])
  params["projection_layer"]["kernel"] = np.eye(8, 5, dtype=np.float32)
  theirs = Theirs(params, projects=True)
  with pytest.raises(ValueError, match="nothing was kept"):
    compare(monkeypatch, "sentence-transformers", theirs, imported, None)


def test_texts_that_their_tokenizer_reads_otherwise_are_listed(
  monkeypatch, imported, tokenizer
):
  theirs = Theirs(imported[1], False, reads_marks=True, tokenizer=tokenizer)
  found = compare(monkeypatch, "huggingface", theirs, imported, tokenizer)
  assert found.other_ids == (
    "<pad></s><unk><s> <extra_id_0> </s> <0x41><0xFF>",
  )
  # Without a tokenizer in the folder there is nothing to compare.
  theirs.tokenizer = None
  found = compare(monkeypatch, "huggingface", theirs, imported, tokenizer)
  assert found.other_ids is None


def test_where_the_folder_cuts_texts_is_no_other_reading(
  monkeypatch, imported, tokenizer
):
  form, length = "sentence-transformers", 6
  theirs = Theirs(imported[1], True, tokenizer=tokenizer, length=length)
  found = compare(monkeypatch, form, theirs, imported, tokenizer, length)
  assert found.other_ids == ()
  # The probes are longer.
  assert compare(monkeypatch, form, theirs, imported, tokenizer).other_ids


def test_who_is_asked():
  assert import_check.library_of("t5x") is None
