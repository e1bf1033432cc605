"""SentencePiece's normalisation by `tokenizers`, against its own."""

import functools
import importlib
import io
import random
import unicodedata
from typing import Any

import pytest
import sentencepiece

from gtr_jax.export import charsmap, fast_normalizer

# Classes that protobuf makes at run time; no checker of types knows them.
schema: Any = importlib.import_module("sentencepiece.sentencepiece_model_pb2")
tokenizers = pytest.importorskip("tokenizers", reason="needs the extra interop")


@functools.cache
def trained(**settings):
  """A model that normalises and does nothing to white space."""
  content = io.BytesIO()
  sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=iter(["A few words, whatever they are."] * 9),
    model_writer=content,
    vocab_size=60,
    hard_vocab_limit=False,
    num_threads=1,
    minloglevel=2,
    **settings,
  )
  model = schema.ModelProto.FromString(content.getvalue())
  model.normalizer_spec.add_dummy_prefix = False
  model.normalizer_spec.remove_extra_whitespaces = False
  model.normalizer_spec.escape_whitespaces = False
  return model


def compiled(**settings):
  return trained(**settings).normalizer_spec.precompiled_charsmap


@functools.cache
def normalize():
  content = trained().SerializeToString()
  return sentencepiece.SentencePieceProcessor(model_proto=content).normalize


def ours(steps):
  return tokenizers.normalizers.Sequence(steps).normalize_str


def test_the_rules_are_sentencepieces():
  rules = charsmap.rules(compiled())
  assert len(rules) > 200_000
  assert rules["ﬁ"] == "fi" and rules["e\u0301"] == "é"
  assert rules["\u0001"] == "" and "\u0080" not in rules
  due = normalize()
  for key in random.Random(0).sample(sorted(rules), 2_000):
    assert due(key) == rules[key], ascii(key)


HARD = [
  "ﬁ\u0301 ①\u06e3 Ａ\u0301\u0323 e\u0301\U000e011a \u00b4\u0301",
  "a\u0323\u0301 a\u0301\u0323 e\u0302\u0323 ω\u0313\u0342\u0345\u0301",
  "か\u3099 \u30cf\u309a \uff8a\uff9f 가 \u1100\u1161\u11a8\u11a8 각\u11a8",
  "\u1100\u0301\u1161 \uffa1\uffc2\u11a8 \u3131\u314f\u11a8",
  "\r\n\r\r\n\u0085\u0080\u0081\u0082\u0001\u0080\u0081 e\u0080\u0301",
  "क\u093c\u094d \u0958 เ\u0e01\u0e33ª\u0e33 \u0600① \u06dd1",
  "👩\u200d👩\u200d👧 🇩🇪 ❤\ufe0f 👍🏽 1\ufe0f\u20e3 e\u200d\u0301",
  "\u05e9\u05c1\u05b8\u05dc\u05d5\u05b9 \ufb2c \U0001d15e \U00016d67\U00016d67",
]


def strings(rules):
  """Characters with rules, marks behind them, rules in parts."""
  rng = random.Random(1)
  single = [key for key in rules if len(key) == 1]
  several = [key for key in rules if len(key) > 1]
  everything = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]
  marks = [c for c in everything if unicodedata.category(c)[0] == "M"]
  kinds = [single, several, marks, everything, "abe \u1161\u11a8\u3099\ufe0f"]
  for length in [1, 2, 3, 4, 8, 30] * 200:
    yield "".join(rng.choice(rng.choice(kinds)) for _ in range(length))


def test_texts_are_normalised_as_sentencepiece_does():
  due, actual = normalize(), ours(fast_normalizer.steps(compiled()))
  texts = [*HARD, *strings(charsmap.rules(compiled()))]
  assert [x for x in texts if actual(x) != due(x)] == []
  # And by the normaliser alone, many are not.
  plain = ours([tokenizers.normalizers.Precompiled(compiled())])
  assert sum(plain(x) != due(x) for x in texts) > 150


def test_other_rules_are_left_to_the_library(tmp_path):
  """What NFC does not do: a rule of two letters."""
  path = tmp_path / "rules.tsv"
  path.write_text("61 62\t63\n64\t\n")
  steps = fast_normalizer.steps(compiled(normalization_rule_tsv=str(path)))
  assert len(steps) == 1
  assert ours(steps)("xabdy") == "xaby"
  assert fast_normalizer.steps(b"") == []
