"""Texts on which an export is compared with its model.

They are chosen to be hard for a tokenizer that was written twice: empty ones,
runs of white space, all kinds of scripts, characters that Unicode normalises
away, and the marks that vocabularies use themselves.
"""

from gtr_jax.export import original as original_lib

SHORT = (
  "how do I parse json",
  "",
  " ",
  "  runs  of \t white\r\nspace \u00a0\u3000and\u2003others ",
  'The quick brown fox, 12,345.67 of it; jumps (over) [the] "lazy" dog\'s…',
  "def f(x: list[int]) -> dict: return {'a': x[0] ** 2}  # comment",
  "Ünïcödé: naïve café, Straße, “quotes” – ÅÄÖ İstanbul",
  "decomposed: e\u0301 A\u030a n\u0303; joined: é Å ñ; ﬁ ﬂ ① ½ Ⅳ ＡＢＣ",
  "Ελληνικά, русский язык, עברית, العربية, हिन्दी, ไทย",
  "日本語のテキスト、中文文本。한국어 텍스트",
  "😀 👩\u200d👩\u200d👧 🇩🇪 ❤\ufe0f",
  "\ufeffinvisible\u200b\u00ad\u2060 marks, \u202eturned\u202c",
  "zero\u0000byte \u0001\u001b\u007f\u0085 control",
  "no one's \ue000\U000f0000\U0010fffd\U0001fffe\u0378",
  "\u2581 the \u2581\u2581mark of a space\u2581",
  "<pad></s><unk><s> <extra_id_0> </s> <0x41><0xFF>",
  "Hmmmmm!!!!!! xxxxx 66666",
)
# Longer than any length.
LONG = (
  " ".join(f"word{number}" for number in range(2_000)),
  "長い文章" * 1_000,
)
_NUM_PIECE_TEXTS = 6
_PIECES_IN_A_TEXT = 24


def short_texts(tokenizer: original_lib.TextTokenizer) -> list[str]:
  """Texts that most lengths hold, among them some of the model's own pieces."""
  return [*SHORT, *_of_own_pieces(tokenizer)]


def _of_own_pieces(tokenizer: original_lib.TextTokenizer) -> list[str]:
  """Texts made of the vocabulary's pieces, from all over it."""
  size = tokenizer.vocab_size
  count = _NUM_PIECE_TEXTS * _PIECES_IN_A_TEXT
  ids = [number * size // count for number in range(count)]
  return [
    tokenizer.decode(ids[start::_NUM_PIECE_TEXTS])
    for start in range(_NUM_PIECE_TEXTS)
  ]
