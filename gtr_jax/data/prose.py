"""Documentation text as it was written → clean prose.

Docstrings, comments and reference texts mix prose with markup, doctests, code
and tables.  Everything here is a pure function of the text.
"""

import functools
import inspect
import re

MIN_PLAIN_RATE = 0.6  # of a text's words, below which it is code or a table
# A line of one repeated sign, as under a heading, or a directive without text.
SEPARATOR = re.compile(
  r"\s*(([^\w\s])\2{2,}\s*|\.\. +(version(added|changed)|deprecated|_).*)"
)
BULLET = re.compile(r"\s*([*+-]|\d{1,2}[.)]|:[a-z]+( [^:]*)?:|@[a-z]+)\s+\S")
# In every text that has MARKUP: most have none, and looking once is faster.
MARK = re.compile(r"[`*+]|::|\.\. |([=\-~#/_.])\1{3}|\d[.)]|-\s")
MARKUP = (
  (re.compile(r":[a-z:]+:`[~!]?([^`]*)`"), r"\1"),  # :meth:`~json.dump`
  (re.compile(r"\.\. +[a-z-]+::|::$"), ""),
  (re.compile(r"``(.+?)``"), r"\1"),
  (re.compile(r"`([^`']*)[`']_*"), r"\1"),
  (re.compile(r"(?<![\w*])\*{1,2}(\w[^*]*)\*{1,2}(?![\w*])"), r"\1"),
  (re.compile(r"([=\-~*#/_+.])\1{3,}"), " "),
  (re.compile(r"^([*+-]|\d{1,2}[.)])\s+"), ""),
)
# foo(bar, baz=()) -> int, alone on its line.
SIGNATURE = re.compile(
  r"(class |async |await )?[\w.]+\([^()]*(\([^()]*\)[^()]*)*\)"
  r"(\s*(->|=|:).{0,60})?"
)
PLAIN_WORD = re.compile(r"[\"'(\[]*[A-Za-z][A-Za-z'’/-]*[.,;:!?)\]\"']*")
SENTENCE_END = re.compile(
  r"(?:(?<=[.!?])|(?<=[.!?][)\"'\]]))(?<!\b[A-Z]\.)(?<!e\.g\.)(?<!i\.e\.)"
  r"(?<!\bvs\.)\s+(?=[A-Z\"'(<_:])"
)
NAME_WORD = re.compile(
  r"[A-Z]+v\d|[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z][a-z\d]*|[A-Z]+\d*|\d+"
)
WORD = re.compile(r"\w+")
LEGAL = re.compile(r"copyright|all rights reserved|licen[sc]e[ds]", re.I)


@functools.cache
def blocks(text: str) -> tuple[str, ...]:
  """Paragraphs, items and headings, a line each; doctests are left out."""
  found: list[list[str]] = [[]]
  in_doctest = False
  for line in inspect.cleandoc(text).split("\n"):
    starts_doctest = line.lstrip().startswith(">>>")
    in_doctest = bool(line.strip()) and (in_doctest or starts_doctest)
    if not line.strip() or in_doctest or SEPARATOR.fullmatch(line):
      found.append([])
    elif found[-1] and _starts_block(line, found[-1]):
      found.append([line])
    else:
      found[-1].append(line)
  texts = (plain(" ".join(lines)) for lines in found)
  return tuple(filter(None, texts))


def _indent(line: str) -> int:
  return len(line) - len(line.lstrip())


def _starts_block(line: str, before: list[str]) -> bool:
  """Whether a line opens a block although no empty line stands before it."""
  first, last, own = _indent(before[0]), _indent(before[-1]), _indent(line)
  after_hanging = own <= first < last
  under_title = own > last and before[-1].rstrip().endswith(":")
  return bool(BULLET.match(line)) or after_hanging or under_title


def plain(text: str) -> str:
  """The text without reStructuredText's marks, white space collapsed."""
  text = " ".join(text.split())
  if MARK.search(text):
    for mark, replacement in MARKUP:
      text = mark.sub(replacement, text)
  return " ".join(text.split())


def sentences(text: str) -> list[str]:
  return [part for part in SENTENCE_END.split(text) if part]


def is_prose(text: str, min_words: int) -> bool:
  """Whether it has that many words, most of them plain, and is no licence."""
  tokens = text.split()
  num_plain = sum(map(bool, map(PLAIN_WORD.fullmatch, tokens)))
  return (
    num_plain >= MIN_PLAIN_RATE * len(tokens)
    and (num_plain >= min_words or len(words(text)) >= min_words)
    and not LEGAL.search(text)
  )


def summary_and_body(text: str, max_words: int) -> tuple[str, str]:
  """A docstring's first sentence, and the prose of all that follows it.

  Signatures and lone names before the summary are dropped, as are blocks of
  code.  The body ends with the block that reaches `max_words`.  Either part may
  be empty.
  """
  parts = list(blocks(text))
  while len(parts) > 1 and _is_label(parts[0]):
    parts = parts[1:]
  if not parts:
    return "", ""
  summary, *rest = sentences(parts[0])
  body = " ".join(rest)
  for part in parts[1:]:
    if len(body.split()) >= max_words:
      break
    if is_prose(part, 1):
      body = f"{body} {part}".strip()
  return summary, cut(body, max_words)


def _is_label(text: str) -> bool:
  return len(text.split()) == 1 or bool(SIGNATURE.fullmatch(text))


def cut(text: str, max_words: int) -> str:
  return " ".join(text.split()[:max_words])


def words(text: str) -> tuple[str, ...]:
  """What two texts are compared by: words in lower case, no punctuation."""
  return tuple(WORD.findall(text.lower()))


def name_words(name: str) -> str:
  """An identifier as words: json.JSONDecoder → json json decoder."""
  return " ".join(NAME_WORD.findall(name)).lower()
