import json
import os
from typing import Any

import numpy as np
import pytest
import sentencepiece

from gtr_jax.data import vocabulary

TEXTS = [
  f"The {adjective} {noun} number {number} parses JSON, e.g. x = {{'a': 1}}."
  for number, adjective in enumerate(["quick", "brown", "lazy", "red"])
  for noun in ["fox", "dog", "parser", "module", "function"]
]
# Two bytes, three bytes, four bytes in UTF-8; none of them in TEXTS.
FOREIGN = "Жé 日本 🎉"


@pytest.fixture(scope="module")
def tokenizer():
  return vocabulary.train(TEXTS, 400)


@pytest.fixture(scope="module")
def t5(shared_data):
  return vocabulary.load(shared_data / "vocab/t5_spiece.model")


def model_bytes(**options):
  """A SentencePiece model with another layout of its control pieces."""
  path = options.pop("path")
  sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=iter(TEXTS),
    model_prefix=str(path / "model"),
    vocab_size=90,
    hard_vocab_limit=False,
    minloglevel=2,
    **options,
  )
  return (path / "model.model").read_bytes()


def test_t5s_ids_are_t5s(t5):
  """8774 296 is "Hello world" in every T5 checkpoint's vocabulary."""
  rows, num_cut = t5.encode(["Hello world", ""], 8, "query")
  assert [row.tolist() for row in rows] == [[8774, 296, 1], [1]]
  assert num_cut == 0
  assert t5.vocab_size == 32_000
  assert t5.eos_id == 1
  assert t5.sha256.startswith("d60acb12")
  assert t5.decode([8774, 296, 1, 0, 0]) == "Hello world"


def test_ids_are_those_of_the_library(t5):
  library = sentencepiece.SentencePieceProcessor(model_proto=t5.model_bytes)
  texts = [*TEXTS, FOREIGN, "a\0b", " spaces\t\n everywhere ", "</s><pad>"]
  rows, _ = t5.encode(texts, 1000, "passage")
  for row, text in zip(rows, texts, strict=True):
    assert row.tolist() == [*library.encode(text), library.eos_id()]
    assert row.dtype == np.int32


def test_eos_stays_when_a_text_is_cut(tokenizer):
  whole = tokenizer.encode([TEXTS[0]], 1000, "query")[0][0]
  for length in (1, 2, len(whole) - 1, len(whole), len(whole) + 1):
    (row,), num_cut = tokenizer.encode([TEXTS[0]], length, "query")
    assert len(row) == min(length, len(whole))
    assert row[-1] == tokenizer.eos_id
    np.testing.assert_array_equal(row[:-1], whole[: len(row) - 1])
    assert num_cut == (length < len(whole))


def test_prompts_belong_to_their_tower(tokenizer):
  prompted = vocabulary.Tokenizer(tokenizer.model_bytes, "query: ", "passage: ")
  for tower in ("query", "passage"):
    (row,), _ = prompted.encode(["the fox"], 64, tower)
    (due,), _ = tokenizer.encode([f"{tower}: the fox"], 64, tower)
    np.testing.assert_array_equal(row, due)
  with pytest.raises(ValueError, match="'query' or 'passage'"):
    tower: Any = "document"
    prompted.encode(["the fox"], 64, tower)


def test_a_trained_vocabulary_is_laid_out_as_t5s(tokenizer):
  library = sentencepiece.SentencePieceProcessor(
    model_proto=tokenizer.model_bytes
  )
  ids = library.pad_id(), library.eos_id(), library.unk_id(), library.bos_id()
  assert ids == (0, 1, 2, -1)


def test_any_text_survives_a_trained_vocabulary(tokenizer):
  rows, _ = tokenizer.encode([FOREIGN], 64, "query")
  assert tokenizer.decode(rows[0]) == FOREIGN
  assert 2 not in rows[0]


def test_training_repeats_itself(tokenizer):
  assert vocabulary.train(iter(TEXTS), 400).sha256 == tokenizer.sha256


def test_training_takes_a_sample_that_the_seed_chooses(tokenizer):
  limited = [
    vocabulary.train(TEXTS, 400, seed=seed, max_characters=300).sha256
    for seed in (0, 0, 1)
  ]
  assert limited[0] == limited[1] != limited[2]
  assert limited[0] != tokenizer.sha256


def test_long_texts_take_part_in_training():
  """The library alone would leave out what is longer than 4,192 bytes."""
  tokenizer = vocabulary.train(["zyxw " * 2000], 300)
  rows, _ = tokenizer.encode(["zyxw"], 64, "query")
  assert min(rows[0][:-1]) >= 3 + 256  # Letters, no bytes.


def test_training_is_silent(capfd):
  vocabulary.train(TEXTS, 400)
  captured = capfd.readouterr()
  assert not captured.out and not captured.err


@pytest.mark.parametrize("texts", [[], [""], ["  ", "\n"]])
def test_training_needs_text(texts):
  with pytest.raises(ValueError, match="no text"):
    vocabulary.train(texts, 400)


def test_training_needs_room_for_bytes():
  with pytest.raises(ValueError, match="no vocabulary of 100 pieces"):
    vocabulary.train(TEXTS, 100)


def test_save_and_load_keep_everything(tokenizer, tmp_path):
  saved = vocabulary.Tokenizer(tokenizer.model_bytes, "q: ", "p: ")
  vocabulary.save(saved, tmp_path / "vocabulary")
  loaded = vocabulary.load_directory(tmp_path / "vocabulary")
  assert loaded.model_bytes == saved.model_bytes
  assert (loaded.query_prompt, loaded.passage_prompt) == ("q: ", "p: ")
  names = sorted(os.listdir(tmp_path / "vocabulary"))
  assert names == ["sentencepiece.model", "tokenizer.json"]


def test_half_a_vocabulary_is_found_out(tokenizer, tmp_path):
  with pytest.raises(ValueError, match="no such file"):
    vocabulary.load_directory(tmp_path)
  vocabulary.save(tokenizer, tmp_path)
  settings = tmp_path / vocabulary.SETTINGS_FILE
  content = settings.read_text()
  settings.write_text(content[:20])
  with pytest.raises(ValueError, match="not a tokenizer's settings"):
    vocabulary.load_directory(tmp_path)
  settings.write_text(json.dumps({**json.loads(content), "sha256": "0"}))
  with pytest.raises(ValueError, match="another sentencepiece.model"):
    vocabulary.load_directory(tmp_path)


@pytest.mark.parametrize("content", [b"", b"not a model", b"\0" * 100])
def test_what_is_no_model_is_refused(tmp_path, content):
  path = tmp_path / "spiece.model"
  path.write_bytes(content)
  with pytest.raises(ValueError, match="spiece.model: not a SentencePiece"):
    vocabulary.load(path)


def test_an_absent_model_is_refused(tmp_path):
  with pytest.raises(ValueError, match="no such vocabulary"):
    vocabulary.load(tmp_path / "absent.model")


def test_a_model_needs_eos(tmp_path):
  content = model_bytes(path=tmp_path, eos_id=-1)
  with pytest.raises(ValueError, match="no EOS"):
    vocabulary.Tokenizer(content)


@pytest.mark.parametrize(
  "layout",
  [
    {"unk_id": 2, "bos_id": -1, "eos_id": 1, "user_defined_symbols": "the"},
    {"unk_id": 2, "bos_id": -1, "eos_id": 0},
  ],
  ids=["a piece", "EOS"],
)
def test_id_0_must_be_free_for_padding(tmp_path, layout):
  with pytest.raises(ValueError, match="id 0 of the model is"):
    vocabulary.Tokenizer(model_bytes(path=tmp_path, **layout))


def test_unknown_at_id_0_never_becomes_padding(tmp_path):
  """SentencePiece's default layout: unknown 0, BOS 1, EOS 2."""
  tokenizer = vocabulary.Tokenizer(model_bytes(path=tmp_path))
  assert tokenizer.eos_id == 2
  rows, _ = tokenizer.encode(["fox 日本 fox", "日本"], 64, "query")
  assert all(0 not in row for row in rows)
  assert "fox" in tokenizer.decode(rows[0])


@pytest.mark.parametrize("text", ["\ud800", None, 3])
def test_what_is_no_text_is_refused(tokenizer, text):
  with pytest.raises(ValueError, match="no string, or holds half"):
    tokenizer.encode(["fine", text], 8, "query")


def test_a_length_needs_room_for_eos(tokenizer):
  with pytest.raises(ValueError, match="length is 0"):
    tokenizer.encode(["fox"], 0, "query")


def test_pad():
  rows = [np.array([5, 1], np.int32), np.array([1], np.int32)]
  padded = vocabulary.pad(rows, 3)
  np.testing.assert_array_equal(padded, [[5, 1, 0], [1, 0, 0]])
  assert padded.dtype == np.int32
  assert vocabulary.pad([], 3).shape == (0, 3)
  with pytest.raises(ValueError, match="2 tokens where 1 fit"):
    vocabulary.pad(rows, 1)


def test_agreement_is_about_pieces(tokenizer, tmp_path):
  other = vocabulary.Tokenizer(
    model_bytes(path=tmp_path, pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
  )
  assert tokenizer.agrees_with(tokenizer)
  assert not tokenizer.agrees_with(other)
