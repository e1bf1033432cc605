"""A tokenizer.json made by hand, and the vocabulary that it was made of."""

import base64
import importlib
import json
from typing import Any

import pytest

from gtr_jax.checkpoints import tokenizer_json
from gtr_jax.data import vocabulary

# Classes that protobuf makes at run time.
schema: Any = importlib.import_module("sentencepiece.sentencepiece_model_pb2")
PIECES = [
  ["<pad>", 0.0],
  ["</s>", 0.0],
  ["<unk>", 0.0],
  ["\u2581", -2.0],
  ["a", -3.0],
  ["b", -3.5],
  ["\u2581ab", -4.0],
  ["<", -9.0],
  ["<extra_id_0>", 0.0],
]
SPECIAL = {"<pad>": 0, "</s>": 1, "<unk>": 2, "<extra_id_0>": 8}


def content(**model):
  return {
    "added_tokens": [
      {"id": number, "content": text, "special": True}
      for text, number in SPECIAL.items()
    ],
    "normalizer": None,
    "post_processor": {
      "type": "TemplateProcessing",
      "single": [
        {"Sequence": {"id": "A", "type_id": 0}},
        {"SpecialToken": {"id": "</s>", "type_id": 0}},
      ],
      "special_tokens": {"</s>": {"id": "</s>", "ids": [1], "tokens": []}},
    },
    "model": {"type": "Unigram", "unk_id": 2, "vocab": PIECES, **model},
  }


@pytest.fixture
def write(tmp_path):
  def write(content):
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(content))
    return path

  return write


@pytest.mark.parametrize(
  "text, ids",
  [
    ("ab", [6]),
    ("aab", [3, 4, 4, 5]),
    ("  ab   ab ", [6, 6]),
    ("az", [3, 4, 2]),
    ("", []),
    # Special tokens are never spelled: < a …
    ("<extra_id_0>", [3, 7, 2, 4, 2]),
  ],
)
def test_ids_are_those_of_the_best_path(write, text, ids):
  path = write(content())
  tokenizer = vocabulary.Tokenizer(tokenizer_json.sentence_piece(path))
  assert tokenizer.vocab_size == 8 and tokenizer.eos_id == 1
  (row,), _ = tokenizer.encode([text], 99, "query")
  assert row.tolist() == [*ids, 1]


def test_the_table_of_the_normalisation_is_taken_over(write):
  trained = vocabulary.train(["some text to learn"] * 9, 280)
  model = schema.ModelProto.FromString(trained.model_bytes)
  table = model.normalizer_spec.precompiled_charsmap
  assert table
  step = {
    "type": "Precompiled",
    "precompiled_charsmap": base64.b64encode(table).decode(),
  }
  for normalizer in (step, {"type": "Sequence", "normalizers": [step]}):
    path = write(content() | {"normalizer": normalizer})
    tokenizer = vocabulary.Tokenizer(tokenizer_json.sentence_piece(path))
    (row,), _ = tokenizer.encode(["\uff41\uff42"], 99, "query")  # ａｂ
    assert row.tolist() == [6, 1]


@pytest.mark.parametrize(
  "broken, match",
  [
    ({}, "no tokenizer"),
    ({**content(), "post_processor": None}, "no tokenizer"),
    (content(vocab=[["<pad>"]]), "no tokenizer"),
    (content(type="BPE"), "holds a BPE tokenizer"),
    (
      content() | {"normalizer": {"type": "Precompiled"}},
      "no tokenizer",
    ),
  ],
)
def test_what_is_no_such_tokenizer_is_one_line(write, broken, match):
  path = write(broken)
  with pytest.raises(ValueError, match=match) as error:
    tokenizer_json.sentence_piece(path)
  assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_a_file_cut_short_is_one_line(write):
  path = write(content())
  path.write_text(path.read_text()[:200])
  with pytest.raises(ValueError, match="broken or cut"):
    tokenizer_json.sentence_piece(path)
