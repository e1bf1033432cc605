"""SentencePiece's normalisation as a sequence of `tokenizers`' own.

Their `Precompiled` goes by what a reader sees as one character: a rule for the
first part of it drops the rest (`ﬁ` with an accent), and what is longer than
five bytes is not composed (`ば` in two parts).  So marks stand between
characters while it runs, which makes it go one by one; then NFC composes the
characters that a rule of several joins, and no others.
"""

import functools
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from gtr_jax.export import charsmap
from gtr_jax.files import optional

# Control characters, of which the first two without a rule are the marks.
_MARKS = range(0x80, 0xA0)
# Stand for them where a text has them; no text has these, says Unicode.
_STAND_INS = "\ufdd0", "\ufdd1"
# What one sees as part of the character before, beside marks of all kinds.
_TRAILING = "\n\u0e33\u0eb3"
# Each is a pass over the text.
_MOST_STRANGE = 50


class _Places(NamedTuple):
  """Where marks go: regular expressions of no width.

  Attributes:
    strange: rules of several characters that NFC does not know, such as those
      of scripts newer than it; done by themselves.
    inside: a rule of several characters.
    between: what might be taken for one character and has no mark `inside`.
    mark_inside, mark_between: the marks.
  """

  strange: Mapping[str, str]
  inside: str
  between: str
  mark_inside: str
  mark_between: str


def steps(compiled: bytes) -> list[Any]:
  """Normalizers of `tokenizers`, to be applied one after the other.

  Args:
    compiled: the model's `precompiled_charsmap`; empty has no rules.
  """
  if not compiled:
    return []
  library = optional.load("tokenizers", "interop")
  parts = library.normalizers
  precompiled = parts.Precompiled(compiled)
  places = _places(compiled)
  if places is None:
    return [precompiled]
  marks = places.mark_inside, places.mark_between
  pairs = list(zip(marks, _STAND_INS, strict=True))
  return [
    *(parts.Replace(key, value) for key, value in places.strange.items()),
    *(parts.Replace(mark, other) for mark, other in pairs),
    parts.Replace(library.Regex(places.inside), places.mark_inside),
    parts.Replace(library.Regex(places.between), places.mark_between),
    precompiled,
    parts.Replace(places.mark_inside, ""),
    parts.NFC(),
    parts.Replace(places.mark_between, ""),
    *(parts.Replace(other, mark) for mark, other in pairs),
  ]


# All vocabularies but a few have the same rules, 200,000 of them.
@functools.lru_cache(maxsize=2)
def _places(compiled: bytes) -> _Places | None:
  """None where the rules are not those of a normal form."""
  rules = charsmap.rules(compiled)
  joins = {key: value for key, value in rules.items() if len(key) > 1}
  strange = _strange(rules, joins)
  joins = {key: value for key, value in joins.items() if key not in strange}
  marks = [chr(c) for c in _MARKS if chr(c) not in rules][:2]
  seen = joins and _can_be_seen(joins) and len(strange) <= _MOST_STRANGE
  if len(marks) < 2 or not seen:
    return None
  inside, between = marks
  later = {character for key in joins for character in key[1:]}
  trailing = (later | set(_TRAILING) | _accents()) - set(marks)
  return _Places(
    strange,
    _inside(joins, later),
    f"(?<=[^{inside}])(?={_one_of(trailing)})",
    inside,
    between,
  )


def _strange(
  rules: Mapping[str, str], joins: Mapping[str, str]
) -> dict[str, str]:
  """Rules of several characters that NFC does not do; the longest first."""
  parts = ("".join(rules.get(c, c) for c in key) for key in joins)
  form = optional.load("tokenizers", "interop").normalizers.NFC()
  # All at once, apart: one call a rule would take seconds.
  composed = form.normalize_str("\n".join(parts)).split("\n")
  found = zip(joins.items(), composed, strict=True)
  strange = [(key, due) for (key, due), came in found if came != due]
  return dict(sorted(strange, key=lambda rule: (-len(rule[0]), rule)))


def _can_be_seen(joins: Iterable[str]) -> bool:
  """Whether the characters before a place tell that it is inside a rule.

  What begins a rule is inside none, and of a rule the beginning is one.
  """
  joins = set(joins)
  starts = {key[0] for key in joins}
  return all(
    (len(key) == 2 or key[:-1] in joins) and starts.isdisjoint(key[1:])
    for key in joins
  )


def _accents() -> set[str]:
  """Marks of all kinds, and all that was no character in Unicode 3.2.

  The old version, which Python keeps, gives the same characters under every
  version of Python, and what is newer is among them.
  """
  kinds = {"Mn", "Mc", "Me", "Cf", "Cn"}
  category = unicodedata.ucd_3_2_0.category
  everything = map(chr, range(0x110000))
  return {character for character in everything if category(character) in kinds}


def _inside(joins: Iterable[str], later: Iterable[str]) -> str:
  """Matches between two characters that a rule joins."""
  # Most characters end no rule, which is seen at once.
  choices = [
    f"(?<={before}){_one_of(after)}" for before, after in _choices(joins)
  ]
  return f"(?={_one_of(later)})(?={'|'.join(choices)})"


def _choices(joins: Iterable[str]) -> Iterable[tuple[str, set[str]]]:
  """(expression, characters that join what it matches), few of them."""
  after = defaultdict(set)
  for key in joins:
    after[key[:-1]].add(key[-1])
  # The rules are products, of which each is one choice: a set of firsts, a
  # rest that goes with all of them, a set of ends.
  firsts = defaultdict(set)
  for before, ends in after.items():
    firsts[before[1:], frozenset(ends)].add(before[0])
  rests = defaultdict(list)
  for (rest, ends), alike in firsts.items():
    rests[len(rest), frozenset(alike), ends].append(rest)
  for (_, alike, ends), whole in rests.items():
    yield _one_of(alike) + _any_of(whole), set(ends)


def _any_of(rests: Sequence[str]) -> str:
  """Matches each of some strings of one length."""
  if len(rests) == 1:
    return rests[0]
  return _one_of(rests) if len(rests[0]) == 1 else f"(?:{'|'.join(rests)})"


def _one_of(characters: Iterable[str]) -> str:
  """A class; none of the characters means anything in one."""
  points = sorted(map(ord, characters))
  runs: list[list[int]] = []
  for point in points:
    if runs and point == runs[-1][1] + 1:
      runs[-1][1] = point
    else:
      runs.append([point, point])
  shown = (chr(a) if a == b else f"{chr(a)}-{chr(b)}" for a, b in runs)
  return f"[{''.join(shown)}]"
