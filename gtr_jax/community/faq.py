"""Pages of frequent questions, HTML: markup that says what is an answer.

schema.org's FAQPage and QAPage as JSON-LD and as microdata, <details> with a
<summary>, and lists of terms (<dl>).

Source: https://schema.org/FAQPage, https://schema.org/QAPage.
"""

import json
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from gtr_jax.community import html_text
from gtr_jax.community.html_text import HtmlToText, Text
from gtr_jax.community.question import Question
from gtr_jax.files import streams
from gtr_jax.files.lines import BadLineError

SUFFIXES = (".html", ".htm", ".xhtml")

_MAX_PAGE_BYTES = 1 << 24
_CHARSET = re.compile(rb"<meta[^>]{0,200}charset\s*=\s*[\"']?\s*([\w-]+)", re.I)
_MARKS = {
  b"\xef\xbb\xbf": "utf-8",
  b"\xff\xfe": "utf-16",
  b"\xfe\xff": "utf-16",
}
_QUESTION = '[itemtype*="schema.org/Question"]'
_ANSWER = '[itemtype*="schema.org/Answer"]'
_ANSWERS = ("acceptedAnswer", "suggestedAnswer")
_MAX_DEPTH = 50

# A question and its answers, HTML.
Found = tuple[str, list[str]]


def read(path: pathlib.Path, name: str, to_text: HtmlToText) -> list[Question]:
  """The questions of a page, each once.

  Args:
    name: of the page, begins the ids.

  Raises:
    BadLineError: a page in an unknown encoding, or no page; JSON-LD that is
      broken.
  """
  html = _decoded(path)
  if html_text.too_deep(html):
    raise BadLineError(f"{path}:1: elements in each other without end")
  tree = html_text.parse(html)
  questions: dict[tuple[str, tuple[Text, ...]], None] = {}
  for find in (_json_ld, _microdata, _details, _terms):
    for query, answers in _found(find, tree, path):
      texts = tuple(to_text(answer) for answer in answers)
      questions[to_text(query).text, texts] = None
  return [
    Question(f"{name}#{number}", query, answers)
    for number, (query, answers) in enumerate(questions, start=1)
  ]


def _found(
  find: Callable[[Any], Iterator[Found]], tree: Any, path: pathlib.Path
) -> Iterator[Found]:
  try:
    yield from find(tree)
  except ValueError as error:
    raise BadLineError(f"{path}:1: {error}") from None


def _json_ld(tree: Any) -> Iterator[Found]:
  for script in tree.css('script[type="application/ld+json"]'):
    text = script.text().strip().removeprefix("<!--").removesuffix("-->")
    if not text.strip():
      continue
    try:
      value = json.loads(text, strict=False)  # Pages have raw line breaks.
    except (ValueError, RecursionError) as error:
      raise ValueError(
        f"the JSON-LD is not JSON ({error}): repair or delete the page"
      ) from None
    yield from _of_json(value, 0)


def _of_json(value: Any, depth: int) -> Iterator[Found]:
  """Questions anywhere in a tree of JSON-LD."""
  if depth > _MAX_DEPTH:
    return
  if isinstance(value, list):
    for item in value:
      yield from _of_json(item, depth + 1)
  elif isinstance(value, Mapping):
    kinds = value.get("@type")
    kinds = kinds if isinstance(kinds, list) else [kinds]
    if "Question" in kinds:
      answers = [
        _string(answer, "text", "name")
        for field in _ANSWERS
        for answer in _as_list(value.get(field))
      ]
      yield _string(value, "name", "text"), [text for text in answers if text]
      return
    for item in value.values():
      yield from _of_json(item, depth + 1)


def _microdata(tree: Any) -> Iterator[Found]:
  for node in tree.css(_QUESTION):
    name = node.css_first('[itemprop="name"]')
    answers = [
      answer.css_first('[itemprop="text"]') or answer
      for answer in node.css(_ANSWER)
    ]
    if name is not None:
      yield _content(name), [_content(answer) for answer in answers]


def _details(tree: Any) -> Iterator[Found]:
  for node in tree.css("details"):
    summary = node.css_first("summary")
    if summary is None or summary.parent != node:
      continue
    query = summary.inner_html or ""
    parts = [
      child.html or ""
      for child in node.iter(include_text=True)
      if child.tag != "summary"
    ]
    yield query, ["".join(parts)]


def _terms(tree: Any) -> Iterator[Found]:
  for node in tree.css("dl"):
    terms: list[str] = []
    answers: list[str] = []
    for child in _entries(node):
      if child.tag == "dt":
        if answers:
          yield from ((term, answers) for term in terms)
          terms, answers = [], []
        terms.append(child.inner_html or "")
      elif child.tag == "dd":
        answers.append(child.inner_html or "")
    if answers:
      yield from ((term, answers) for term in terms)


def _entries(node: Any) -> Iterator[Any]:
  """<dt> and <dd> of a list, also those that are grouped by <div>."""
  for child in node.iter():
    if child.tag == "div":
      yield from child.iter()
    else:
      yield child


def _content(node: Any) -> str:
  content = node.attributes.get("content")
  return content if content is not None else node.inner_html or ""


def _string(value: Any, *names: str) -> str:
  """Of an object the first of its fields that is a text; a text is itself."""
  if isinstance(value, str):
    return value
  if isinstance(value, Mapping):
    for name in names:
      if isinstance(value.get(name), str):
        return value[name]
  return ""


def _as_list(value: Any) -> Sequence[Any]:
  if value is None:
    return []
  return value if isinstance(value, list) else [value]


def _decoded(path: pathlib.Path) -> str:
  try:
    with streams.opened(path) as stream:
      content = stream.read(_MAX_PAGE_BYTES + 1)
  except streams.BrokenStreamError as error:
    raise BadLineError(f"{path}:1: {error}") from None
  if len(content) > _MAX_PAGE_BYTES:
    raise BadLineError(f"{path}:1: a page of more than {_MAX_PAGE_BYTES} bytes")
  encoding = next(
    (name for mark, name in _MARKS.items() if content.startswith(mark)), None
  )
  if encoding is None:
    named = _CHARSET.search(content[:4096])
    encoding = named[1].decode("ascii") if named else "utf-8"
  try:
    return content.decode(encoding)
  except LookupError:
    raise BadLineError(f"{path}:1: no encoding is called {encoding}") from None
  except UnicodeDecodeError as error:
    line = 1 + content.count(b"\n", 0, error.start)
    raise BadLineError(
      f"{path}:{line}: byte 0x{content[error.start]:02x} is not {encoding}:"
      " convert the page to UTF-8"
    ) from None
