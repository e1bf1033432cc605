"""tokenizer.json against the `sentencepiece` library, on varied texts."""

import random
import unicodedata

import numpy as np
import pytest

from gtr_jax.data import vocabulary
from gtr_jax.export import fast_tokenizer, same_tokens

tokenizers = pytest.importorskip("tokenizers", reason="needs the extra interop")

TEXT = (
  "A few words, and what stands between them: 12,345 of it! Ünïcödé – naïve"
  " café, Straße, 日本語が, русский, Việt Nam, हिन्दी, العَرَبِيَّة, ไทย, 한국어"
)
WORDS = TEXT.split()
MARKS = ("</s>", "<unk>", "<0x41>", "<extra_id_0>", "\u2581", "ﬁ\u0301", "①")
SPACES = " \t\n\r\u00a0\u2003\u200b\u3000\u00ad\ufeff\u0085"


def varied_texts(count):
  """All scripts, decomposed and not, marks, white space, control characters."""
  rng = random.Random(0)
  kinds = [
    lambda: rng.choice(WORDS),
    lambda: unicodedata.normalize("NFD", rng.choice(WORDS)),
    lambda: rng.choice(MARKS),
    lambda: rng.choice(SPACES) * rng.choice((1, 3)),
    lambda: chr(rng.randrange(0x300, 0x370)),
    lambda: chr(rng.randrange(0x180)),
    lambda: chr(rng.randrange(0xD800)),
    lambda: chr(rng.randrange(0xE000, 0x110000)),
  ]
  for number in range(count):
    yield "".join(rng.choice(kinds)() for _ in range(number % 40))


def readings(tokenizer, folder):
  """(text, ids of SentencePiece, ids of tokenizer.json), not cut."""
  fast_tokenizer.write(tokenizer.model_bytes, 99, folder)
  read = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
  texts = list(varied_texts(400))
  rows, _ = tokenizer.encode(texts, 9_999, "passage")
  came = [np.array(row.ids) for row in read.encode_batch(texts)]
  return zip(texts, rows, came, strict=True)


def test_ids_of_an_own_vocabulary(tmp_path):
  tokenizer = vocabulary.train([TEXT] * 20, 500)
  for text, due, came in readings(tokenizer, tmp_path):
    assert np.array_equal(due, came), ascii(text)


def test_ids_of_t5s_vocabulary(shared_data, tmp_path):
  tokenizer = vocabulary.load(shared_data / "vocab/t5_spiece.model")
  for text, due, came in readings(tokenizer, tmp_path):
    is_tie = same_tokens.is_tie(tokenizer.decode, due, came, 9_999)
    assert np.array_equal(due, came) or is_tie, ascii(text)
