"""Texts of all kinds, for what must read every one of them alike."""

import gzip
import json
import pathlib
import random
import unicodedata
from collections.abc import Callable, Iterator, Sequence

# Fields of a record that hold text.
_FIELDS = ("positive", "passage", "query", "text")
_MARKS = (
  *("</s>", "<pad>", "<unk>", "<extra_id_0>", "<0x41>", "\u2581"),
  *("!!!!!!", "xxxiii", "......", "ﬁ", "①", "Å", "\ufeff", "\u200d", "\u202e"),
)
_SPACES = " \t\n\r\u00a0\u2003\u200b\u3000\u00ad\u2028\u0085"
_EMOJI = (
  "😀",
  "👩\u200d👩\u200d👧",
  "🇩🇪",
  "❤\ufe0f",
  "👍🏽",
  "🏴\U000e0067\U000e007f",
)
_SCRIPT_BLOCK = 128  # Characters: a script of Unicode is a few of these.
_LONGEST = 5_000


def texts(
  count: int, files: Sequence[pathlib.Path] = (), seed: int = 0
) -> list[str]:
  """`count` texts: half of them made up, the rest real ones of the files.

  Made up are: runs of one script, characters of all planes, control
  characters, white space, combining marks, emoji, marks of vocabularies, bits
  of real text, long mixtures, and the empty text.

  Args:
    files: JSONL, plain or by gzip; of a record its texts are taken.
  """
  rng = random.Random(seed)
  num_real = count // 2 if files else 0
  share = -(-num_real // len(files)) if files else 0
  real = [text for file in files for text in _first(file, share)][:num_real]
  made = _made_up(rng, real or ["a text like others", "Ünïcödé, naïve café"])
  return real + [next(made) for _ in range(count - len(real))]


def _first(file: pathlib.Path, count: int) -> Iterator[str]:
  opened = gzip.open if file.suffix == ".gz" else open
  with opened(file, "rt", encoding="utf-8") as lines:
    for line in lines:
      record = json.loads(line)
      for field in _FIELDS:
        if isinstance(record.get(field), str):
          yield record[field]
          count -= 1
          if not count:
            return


def _made_up(rng: random.Random, real: Sequence[str]) -> Iterator[str]:
  yield ""
  kinds = _kinds(rng, real)
  while True:
    chosen = [rng.choice(kinds) for _ in range(rng.choice((1, 1, 2, 4)))]
    length = rng.choice((1, 2, 3, 8, 30, 30, 100))
    if rng.random() < 0.002:
      length = _LONGEST
    yield "".join(rng.choice(chosen)() for _ in range(length))


def _kinds(
  rng: random.Random, real: Sequence[str]
) -> tuple[Callable[[], str], ...]:
  script = _script(rng)

  def of_a_script() -> str:
    nonlocal script
    if rng.random() < 0.02:
      script = _script(rng)
    return rng.choice(script)

  def bit() -> str:
    text = rng.choice(real)
    start = rng.randrange(max(1, len(text)))
    return text[start : start + rng.randrange(30)]

  return (
    of_a_script,
    lambda: chr(rng.randrange(32, 127)),
    lambda: chr(rng.randrange(0xD800)),
    lambda: chr(rng.randrange(0xE000, 0x110000)),
    lambda: chr(rng.randrange(32)),
    lambda: rng.choice(_SPACES) * rng.choice((1, 1, 2, 7)),
    lambda: rng.choice("aeonA") + chr(rng.randrange(0x300, 0x370)),
    lambda: rng.choice(_EMOJI),
    lambda: rng.choice(_MARKS),
    bit,
  )


def _script(rng: random.Random) -> list[str]:
  """The assigned characters of some block of the first two planes."""
  while True:
    start = rng.randrange(0, 0x20000, _SCRIPT_BLOCK)
    block = map(chr, range(start, start + _SCRIPT_BLOCK))
    found = [c for c in block if unicodedata.category(c) not in ("Cn", "Cs")]
    if found:
      return found
