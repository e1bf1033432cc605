"""HTML to plain text, by lexbor."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gtr_jax.files import optional

# Words on two sides of such a tag are two words.
_BLOCK = re.compile(
  r"<(?=/?(?:address|article|aside|blockquote|br|center|dd|details|dialog|div|dl"
  r"|dt|fieldset|figcaption|figure|footer|form|h[1-6]|header|hr|legend|li|main"
  r"|nav|ol|option|p|pre|section|summary|table|tbody|td|tfoot|th|thead|tr|ul)"
  r"\b)",
  re.IGNORECASE,
)
_TAG = re.compile(
  r"<(/?)(?!(?:area|base|br|col|dd|dt|embed|hr|img|input|li|link|meta|option|p"
  r"|source|tbody|td|tfoot|th|thead|tr|track|wbr)\b)[a-z]",
  re.IGNORECASE,
)
_MAX_DEPTH = 2000
_UNREAD = "script, style, template, noscript, iframe, svg, object"
_CODE = "pre"


@dataclass(frozen=True)
class Text:
  """What somebody reads.

  Attributes:
    text: runs of white space as one space.
    code_share: characters in blocks of code among all, also if left out.
    refused: why there is no text, or "".
  """

  text: str
  code_share: float = 0.0
  refused: str = ""


@dataclass(frozen=True)
class HtmlToText:
  """Binds how HTML becomes text.

  Attributes:
    keep_code: whether blocks of code (`<pre>`) are text; code within a line is.
  """

  keep_code: bool = True

  def __call__(self, html: str) -> Text:
    if "<" not in html and "&" not in html:
      return Text(" ".join(html.split()))
    if too_deep(html):
      return Text("", refused="too_deep")
    tree = parse(_BLOCK.sub("\n<", html))
    _remove(tree.css(_UNREAD))
    blocks = tree.css(_CODE) if "<pre" in html.lower() else []
    if not blocks:
      return Text(_plain(tree.text()))
    text = _plain(tree.text())
    code = sum(len(_plain(block.text())) for block in blocks)
    share = min(1.0, code / max(1, len(text)))
    if not self.keep_code:
      _remove(blocks)
      text = _plain(tree.text())
    return Text(text, share)


def parse(html: str) -> Any:
  """The tree of a page or a part of one.

  Raises:
    ValueError: selectolax is not installed.
  """
  return optional.load("selectolax.lexbor", "data").LexborHTMLParser(html)


def too_deep(html: str) -> bool:
  """Whether so many elements are in each other that parsing takes minutes.

  The time of any parser that follows the standard grows with the square.
  """
  if html.count("<") <= _MAX_DEPTH:
    return False
  depth = 0
  for tag in _TAG.finditer(html):
    depth = max(0, depth - 1) if tag[1] else depth + 1
    if depth > _MAX_DEPTH:
      return True
  return False


def _remove(nodes: Sequence[Any]) -> None:
  """Removes nodes that come in the order of the page."""
  # What is in another node goes first: a node that went with it must not be
  # touched again.
  for node in reversed(nodes):
    node.decompose()


def _plain(text: str) -> str:
  return " ".join(text.split())
