"""What a text shows of the ways that it has come: broken encodings, markup."""

import importlib.util
import re
from collections.abc import Callable, Iterator, Mapping

from gtr_jax.files import optional

# Invisible: zero width, direction marks, soft hyphen; joiners are left alone,
# some scripts are written with them.
_SIGNS: Mapping[str, re.Pattern[str]] = {
  "nul": re.compile("\x00"),
  "replacement": re.compile("\ufffd"),
  "control": re.compile("[\x01-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"),
  "invisible": re.compile(
    "[\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\ufeff]"
  ),
  "html": re.compile(
    r"</?(?:p|br|div|span|li|ul|ol|td|tr|table|b|i|em|strong|h[1-6]|a|img)"
    r"(?:\s[^<>]*)?/?>|&(?:amp|lt|gt|quot|nbsp|apos|#\d{1,7}|#x[\da-f]{1,6});",
    re.I,
  ),
}
_NOT_PRINTABLE = ("nul", "control", "invisible")
KINDS = (*_SIGNS, "mojibake")
_AROUND = 30  # Characters of an excerpt on both sides.

Finder = Callable[[str], Iterator[tuple[str, str]]]


def can_see_mojibake() -> bool:
  """Whether the library that knows mojibake is installed."""
  return importlib.util.find_spec("ftfy") is not None


def finder() -> Finder:
  """A function of a text: each kind of trouble in it, with the first place."""
  is_garbled = _garbled() if can_see_mojibake() else None

  def find(text: str) -> Iterator[tuple[str, str]]:
    for kind in _possible(text):
      if found := _SIGNS[kind].search(text):
        yield kind, around(text, found.start(), found.end())
    if is_garbled is not None and not text.isascii():
      yield from (("mojibake", excerpt) for excerpt in is_garbled(text))

  return find


def _possible(text: str) -> Iterator[str]:
  """The kinds that a quick look does not rule out."""
  if not text.isprintable():  # Of line ends, too.
    yield from _NOT_PRINTABLE
  if "\ufffd" in text:
    yield "replacement"
  if "<" in text or "&" in text:
    yield "html"


def around(text: str, start: int, end: int) -> str:
  """The place and what stands beside it."""
  left, right = max(start - _AROUND, 0), min(end, start + 200) + _AROUND
  return (
    ("…" if left else "")
    + text[left:right]
    + ("…" if right < len(text) else "")
  )


def _garbled() -> Callable[[str], Iterator[str]]:
  """A function that shows the first place that another encoding repairs."""
  looks_bad = optional.load("ftfy.badness", "data").BADNESS_RE
  repaired = optional.load("ftfy", "data").fix_encoding

  def find(text: str) -> Iterator[str]:
    # Odd signs side by side are common in formulas; those nothing repairs.
    found = looks_bad.search(text)
    if found and repaired(text) != text:
      yield around(text, found.start(), found.end())

  return find
