"""Folders for sentence-transformers: what is in them, what is refused."""

import dataclasses
import functools
import importlib.util
import io
import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sentencepiece
from flax import linen as nn

from gtr_jax.checkpoints import names
from gtr_jax.checkpoints import sentence_transformers as layout
from gtr_jax.data import vocabulary
from gtr_jax.export import (
  artifact,
  consumer_process,
  fast_tokenizer,
  safetensors_files,
)
from gtr_jax.export import original as original_lib
from gtr_jax.export import sentence_transformers as export
from gtr_jax.layers import mlp, pooling
from gtr_jax.models import dual_encoder, t5_encoder, text_encoder

tokenizers = pytest.importorskip("tokenizers", reason="needs the extra interop")
pytest.importorskip("safetensors", reason="needs the extra interop")

TEXT = [
  "A folder that other libraries load: weights, tokenizer, modules.",
  "Prompts, EOS and the cut to the length are there, too; 12,345 of them!",
  "Ünïcödé texts – naïve café, Straße, 日本語, русский – are read alike.",
] * 20
FORWARD = {
  "1.0": (mlp.relu,),
  "1.1": (mlp.gelu_gate, mlp.linear_gate),
}


@functools.cache
def own_tokenizer():
  return vocabulary.train(TEXT, 400, query_prompt="query: ")


def sentence_piece(**settings):
  model = io.BytesIO()
  layout = {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}
  sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=iter(TEXT),
    model_writer=model,
    hard_vocab_limit=False,
    num_threads=1,
    minloglevel=2,
    **{**layout, "vocab_size": 120, **settings},
  )
  return vocabulary.Tokenizer(model.getvalue())


def original_of(version="1.0", two_towers=False, pooling_fn=pooling.mean):
  encoder = t5_encoder.T5Encoder(
    num_layers=2,
    num_heads=2,
    head_dim=8,
    mlp_dim=24,
    activations=FORWARD[version],
    relative_attention_num_buckets=8,
    relative_attention_max_distance=20,
  )
  tower = text_encoder.TextEncoder(
    encoder, 420, 16, projection_dim=12, pooling_fn=pooling_fn
  )
  model = dual_encoder.DualEncoder(tower, tower.copy() if two_towers else None)
  tokens = jnp.ones((1, 2), jnp.int32)
  shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), tokens, tokens))
  rng = np.random.default_rng(0)

  def draw(leaf):
    """Scales are no ones, which would hide that one is forgotten."""
    spread = rng.normal(size=leaf.shape) / np.sqrt(leaf.shape[0])
    return jnp.asarray(spread + (len(leaf.shape) == 1), jnp.float32)

  params = jax.tree.map(draw, nn.unbox(shapes)["params"])
  return original_lib.Original(
    model, params, own_tokenizer(), 32, 32, "0123456789abcdef", step=7
  )


@pytest.fixture
def alone(monkeypatch):
  """As where sentence-transformers is not installed."""
  monkeypatch.setattr(consumer_process, "version", lambda *names: None)


@pytest.mark.parametrize("version", FORWARD)
def test_the_folder_holds_the_model(tmp_path, alone, version):
  original = original_of(version)
  output = tmp_path / "folder"
  comparison = artifact.make(original, export, output)
  assert comparison.near.max_difference <= 1e-6
  assert sorted(p.name for p in output.iterdir()) == [
    ".gitattributes",
    "1_Pooling",
    "2_Dense",
    "3_Normalize",
    "README.md",
    "config.json",
    "config_sentence_transformers.json",
    "gtr_export.json",
    "model.safetensors",
    "modules.json",
    "parity.json",
    "sentence_bert_config.json",
    "special_tokens_map.json",
    "spiece.model",
    "tokenizer.json",
    "tokenizer_config.json",
  ]
  config = json.loads((output / "config.json").read_text())
  assert config["architectures"] == ["T5EncoderModel"]
  due = {
    "vocab_size": 420,
    "d_model": 16,
    "d_kv": 8,
    "d_ff": 24,
    "num_layers": 2,
    "num_heads": 2,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 20,
    "feed_forward_proj": "relu" if version == "1.0" else "gated-gelu",
    # Else a loader may fall back to float16, in which T5 overflows.
    "torch_dtype": "float32",
  }
  assert due.items() <= config.items()
  parity = json.loads((output / "parity.json").read_text())
  assert parity["checked"] is False
  assert parity["checked_by"].startswith("not checked by its consumer")
  # Back again, bit by bit.
  read = layout.read(output)
  assert (read.query_prompt, read.passage_prompt) == ("query: ", "")
  assert read.max_length == 32
  before = names.flatten(original.params)
  assert read.arrays.keys() == before.keys()
  for name, array in before.items():
    np.testing.assert_array_equal(np.asarray(read.arrays[name]), array)


def test_a_learned_temperature_stays_behind(tmp_path, alone):
  original = original_of()
  params = {**original.params, "temperature": {"logit": jnp.zeros(())}}
  export.write(dataclasses.replace(original, params=params), tmp_path)
  assert "temperature/logit" not in layout.read(tmp_path).arrays


@pytest.mark.parametrize(
  "settings, match",
  [
    ({"two_towers": True}, "has separate towers"),
    ({"pooling_fn": pooling.maximum}, "pooling is not the mean"),
  ],
)
def test_what_has_no_form_there_is_refused(tmp_path, alone, settings, match):
  with pytest.raises(ValueError, match=match):
    artifact.make(original_of(**settings), export, tmp_path / "folder")
  assert not list(tmp_path.iterdir())


def test_two_lengths_are_refused(tmp_path, alone):
  original = dataclasses.replace(original_of(), query_length=16)
  with pytest.raises(ValueError, match="query_length is 16"):
    artifact.make(original, export, tmp_path / "folder")


def test_a_wrong_matrix_leaves_nothing(tmp_path, alone, monkeypatch):
  kept = safetensors_files.write

  def forgetful(path, parts):
    scaled = {
      k: x._replace(array=x.array * 1.1)
      if "1.layer.1.DenseReluDense.wo" in k
      else x
      for k, x in parts.items()
    }
    kept(path, scaled)

  monkeypatch.setattr(safetensors_files, "write", forgetful)
  with pytest.raises(ValueError, match="embeddings differ by"):
    artifact.make(original_of(), export, tmp_path / "folder")
  assert not list(tmp_path.iterdir())


def test_bfloat16_is_in_the_files_and_in_the_config(tmp_path):
  original = dataclasses.replace(original_of(), dtype="bfloat16")
  export.write(original, tmp_path)
  config = json.loads((tmp_path / "config.json").read_text())
  assert config["torch_dtype"] == "bfloat16"
  read = layout.read(tmp_path)
  for name, array in names.flatten(original.written_params).items():
    np.testing.assert_array_equal(
      np.asarray(read.arrays[name], np.float32), np.asarray(array, np.float32)
    )
  for path in ("model.safetensors", "2_Dense/model.safetensors"):
    assert b'"BF16"' in (tmp_path / path).read_bytes()[:200]


HARD = [
  "</s> <pad><unk> <0x41><0xFF>",
  "a</s>b < / s > <<pad>>",
  "\u2581 the \u2581\u2581mark \u2581",
  "  runs  of   space ",
  "\u200b",
  "Ünïcödé – e\u0301 ﬁ ① ＡＢＣ",
  "😀 unknown 漢 <😀<",
]


@pytest.mark.parametrize(
  "make",
  [
    own_tokenizer,
    sentence_piece,
    lambda: sentence_piece(remove_extra_whitespaces=False),
    lambda: sentence_piece(add_dummy_prefix=False),
    lambda: sentence_piece(control_symbols=["<sep>", "café"]),
    lambda: sentence_piece(normalization_rule_name="identity"),
  ],
  ids=["own", "unknown", "spaces", "no prefix", "marks", "as it is"],
)
def test_the_same_text_gives_the_same_ids(tmp_path, make):
  tokenizer = make()
  fast_tokenizer.write(tokenizer.model_bytes, 99, tmp_path)
  read = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
  texts = [*HARD, *TEXT[:3], "a <sep> café <sep>", *"<>/spadunk0x4"]
  rows, _ = tokenizer.encode(texts, 999, "passage")
  for text, due in zip(texts, rows, strict=True):
    assert read.encode(text).ids == due.tolist(), text
  settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
  assert settings["split_special_tokens"] is True
  # With transformers 4 a T5 would be given token types, and fail.
  assert settings["model_input_names"] == ["input_ids", "attention_mask"]
  assert (settings["pad_token"], settings["eos_token"]) == ("<pad>", "</s>")
  assert (tmp_path / "spiece.model").read_bytes() == tokenizer.model_bytes


@pytest.mark.parametrize(
  "settings, match",
  [
    ({"model_type": "bpe", "vocab_size": 200}, "is a BPE model"),
    ({"pad_id": -1, "unk_id": 0}, "id 0 of the vocabulary is the unknown"),
    ({"treat_whitespace_as_suffix": True}, "does not mark white space"),
  ],
)
def test_other_vocabularies_are_refused(tmp_path, settings, match):
  with pytest.raises(ValueError, match=match):
    fast_tokenizer.write(sentence_piece(**settings).model_bytes, 9, tmp_path)


def needs_the_consumer():
  for library in ("torch", "transformers", "sentence_transformers"):
    if importlib.util.find_spec(library) is None:
      pytest.skip(f"{library} is not installed; it is no requirement")


@pytest.mark.parametrize("version", FORWARD)
def test_sentence_transformers_gives_the_same(tmp_path, version):
  needs_the_consumer()
  output = tmp_path / "folder"
  comparison = artifact.make(original_of(version), export, output)
  assert comparison.near.max_difference <= 1e-5
  parity = json.loads((output / "parity.json").read_text())
  assert parity["checked"] is True
  assert parity["checked_by"].startswith("sentence-transformers ")


CONSUMER = """
import sys
import numpy as np
from sentence_transformers import SentenceTransformer

{code}
texts = ["one", "", "a longer text than one " * 40]
alone = np.stack([model.encode_query(text) for text in texts])
np.testing.assert_allclose(model.encode_query(texts), alone, atol=1e-6)
prompted = model.encode(["query: " + text for text in texts])
np.testing.assert_allclose(prompted, alone, atol=1e-6)
named = model.encode(texts, prompt_name="document")
np.testing.assert_allclose(model.encode_document(texts), named, atol=1e-6)
assert abs(alone - named).max() > 1e-2
assert model.tokenize(texts)["input_ids"].shape[1] == 32
assert model.similarity_fn_name == "cosine" and scores.shape == (1, 1)
assert model.encode(texts, truncate_dim=5).shape == (3, 5)
assert model.get_sentence_embedding_dimension() == 12
model.save(sys.argv[1])
"""


def test_the_cards_code_and_what_users_do(tmp_path):
  """Also: what their library saves again is imported as the same model."""
  needs_the_consumer()
  original = original_of("1.1")
  folder = tmp_path / "folder"
  folder.mkdir()
  export.write(original, folder)
  card = (folder / "README.md").read_text()
  code = card.partition("```python\n")[2].partition("```")[0]
  code = code.replace('"PATH"', f'{str(folder)!r}, device="cpu"')
  subprocess.run(
    [sys.executable, "-c", CONSUMER.format(code=code), tmp_path / "saved"],
    check=True,
    env={
      **os.environ,
      "HF_HUB_OFFLINE": "1",
      "TOKENIZERS_PARALLELISM": "false",
    },
  )
  read = layout.read(tmp_path / "saved")
  assert read.query_prompt == "query: "
  for name, array in names.flatten(original.params).items():
    np.testing.assert_array_equal(np.asarray(read.arrays[name]), array)


def test_what_sentence_transformers_does_not_load_is_told(tmp_path):
  needs_the_consumer()
  (tmp_path / "modules.json").write_text("[]")
  (tmp_path / "config.json").write_text("{}")
  with pytest.raises(ValueError, match="does not read the folder") as error:
    export.load(tmp_path)
  assert "\n" not in str(error.value)
