"""The rows of an XML dump, streamed; nothing in the file is obeyed.

A dump is one element full of `<row …/>`.  "<" stands in no attribute, so a file
can be cut before any `<row` and its pieces parsed apart.  A document type is
refused before it can define an entity.  Real dumps refer to characters that XML
does not have, such as `&#x1F;`: they are read as spaces.
"""

import pathlib
import re
from collections.abc import Callable, Iterator, Mapping
from typing import IO
from xml.parsers import expat

from gtr_jax.community import blocks
from gtr_jax.files import streams
from gtr_jax.files.lines import BadLineError

_ROW = b"<row"
_MAX_HEAD_BYTES = 1 << 16  # What may stand before the first row.
_REFERENCE = re.compile(rb"&#(?:x([0-9A-Fa-f]{1,8})|([0-9]{1,10}));")
_BAD_REFERENCE = expat.errors.codes[expat.errors.XML_ERROR_BAD_CHAR_REF]
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_ENCODINGS = ("utf-8", "utf8", "us-ascii", "ascii")

# Takes the attributes of a row and its line.
TakeRow = Callable[[Mapping[str, str], int], None]


def read(path: pathlib.Path, root: str) -> Iterator[blocks.Block]:
  """Blocks of whole rows; what stands around the rows is checked.

  Args:
    root: the name of the element that holds the rows.

  Raises:
    BadLineError: another element, another encoding, a document type, a file
      that is cut: always, since nobody knows what is lost.
  """
  with streams.opened(path, f"{root}.xml") as stream:
    parser = _frame(root)
    head, pending = _head(path, stream, root)
    _parse(parser, path, None, head, is_final=False)
    line, last = 1 + head.count(b"\n"), None
    for block in blocks.cut(path, stream, _ROW, line, pending):
      if last is not None:
        yield last
      last = block
    tail = b""
    if last is not None:
      line = last.line + last.data.count(b"\n")
      rows, closing, rest = last.data.rpartition(b"</")
      if last.too_long or not closing:
        raise BadLineError(
          f"{path}:{line}: the file ends without </{root}>: it is cut, copy it"
          " again"
        )
      yield blocks.Block(last.path, last.line, rows)
      tail = closing + rest
    _parse(parser, path, line, tail, is_final=True)


def parse(block: blocks.Block, take: TakeRow) -> None:
  """Hands each row of a block to `take`.

  Raises:
    BadLineError: XML that is broken, or a ValueError of `take`, with its place.
  """
  if block.too_long:
    raise BadLineError(f"{block.path}:{block.line}: {blocks.too_long(block)}")
  try:
    _parse_rows(block, take)
  except _RefusedReferenceError as error:
    data = _REFERENCE.sub(_space_for_refused, block.data)
    cleaned = blocks.Block(block.path, block.line, data)
    _parse_rows(cleaned, take, error.num_rows)


class _RefusedReferenceError(Exception):
  """A reference to a character that XML does not have.

  Attributes:
    num_rows: that came before.
  """

  def __init__(self, num_rows: int) -> None:
    super().__init__(num_rows)
    self.num_rows = num_rows


def _parse_rows(
  block: blocks.Block, take: TakeRow, num_passed: int | None = None
) -> None:
  """Hands each row to `take`.

  Args:
    num_passed: rows of a repaired block that were handed over before; None is a
      block as it came, which may raise a _RefusedReferenceError.
  """
  parser = _hardened()
  num_rows = 0

  def start(name: str, attributes: Mapping[str, str]) -> None:
    nonlocal num_rows
    if name != "row":
      raise ValueError(f"the element <{name}> came, <row> was due")
    num_rows += 1
    if num_rows > (num_passed or 0):
      take(attributes, block.line + parser.CurrentLineNumber - 2)

  def text(data: str) -> None:
    if data.strip():
      raise ValueError(f"the text {data[:40]!r} stands between the rows")

  parser.Parse(b"<rows>\n")
  parser.StartElementHandler = start
  parser.CharacterDataHandler = text
  try:
    parser.Parse(block.data)
    parser.Parse(b"</rows>", True)
  except expat.ExpatError as error:
    if error.code == _BAD_REFERENCE and num_passed is None:
      raise _RefusedReferenceError(num_rows) from None
    line = block.line + error.lineno - 2
    raise BadLineError(f"{block.path}:{line}: {_reason(error)}") from None
  except ValueError as error:
    line = block.line + parser.CurrentLineNumber - 2
    raise BadLineError(f"{block.path}:{line}: {error}") from None


def single(block: blocks.Block) -> Iterator[blocks.Block]:
  """The rows of a block, a block each, to find the bad ones among them."""
  if block.too_long:
    yield block
    return
  line = block.line
  for row in block.data.split(_ROW)[1:]:
    yield blocks.Block(block.path, line, _ROW + row)
    line += row.count(b"\n")


def _head(
  path: pathlib.Path, stream: IO[bytes], root: str
) -> tuple[bytes, bytes]:
  """What stands before the first row, and what was read beyond that."""
  try:
    begin = stream.read(_MAX_HEAD_BYTES)
  except streams.BrokenStreamError as error:
    raise BadLineError(f"{path}:1: {error}") from None
  if not begin:
    raise BadLineError(f"{path}:1: the file is empty: copy it again")
  if begin.startswith(_UTF_16):
    raise BadLineError(f"{path}:1: the file is UTF-16: convert it to UTF-8")
  head, row, rest = begin.partition(_ROW)
  if not row and len(begin) == _MAX_HEAD_BYTES:
    _parse(_frame(root), path, None, begin, is_final=False)
    raise BadLineError(
      f"{path}:1: no <row> in the first {_MAX_HEAD_BYTES} bytes: a dump with"
      f" rows in <{root}> was due"
    )
  return head, row + rest


def _frame(root: str) -> expat.XMLParserType:
  """A parser of what stands around the rows."""
  parser = _hardened()

  def start(name: str, attributes: Mapping[str, str]) -> None:
    if name != root:
      raise ValueError(f"the element <{name}> came, <{root}> was due")

  def declaration(version: str, encoding: str | None, alone: int) -> None:
    if encoding is not None and encoding.casefold() not in _ENCODINGS:
      raise ValueError(f"the encoding is {encoding}: convert the file to UTF-8")

  parser.StartElementHandler = start
  parser.XmlDeclHandler = declaration
  return parser


def _hardened() -> expat.XMLParserType:
  parser = expat.ParserCreate("utf-8")

  def refuse(name: str, *_: object) -> None:
    raise ValueError(
      f"a document type ({name}) came: dumps have none, and its entities can"
      " fill the memory; delete it"
    )

  parser.StartDoctypeDeclHandler = refuse
  return parser


def _parse(
  parser: expat.XMLParserType,
  path: pathlib.Path,
  line: int | None,
  data: bytes,
  is_final: bool,
) -> None:
  """`line` is where the data begins; None: the parser has seen all before."""
  try:
    parser.Parse(data, is_final)
  except expat.ExpatError as error:
    place = line or error.lineno
    raise BadLineError(f"{path}:{place}: {_reason(error)}") from None
  except ValueError as error:
    place = line or parser.CurrentLineNumber
    raise BadLineError(f"{path}:{place}: {error}") from None


def _space_for_refused(reference: re.Match[bytes]) -> bytes:
  hexadecimal, decimal = reference.groups()
  code = int(hexadecimal, 16) if hexadecimal else int(decimal)
  return reference[0] if _is_character(code) else b" "


def _is_character(code: int) -> bool:
  """Source: https://www.w3.org/TR/xml/#charsets."""
  return (
    code in (0x9, 0xA, 0xD)
    or 0x20 <= code < 0xD800
    or 0xE000 <= code < 0xFFFE
    or 0x10000 <= code < 0x110000
  )


def _reason(error: expat.ExpatError) -> str:
  return (
    f"not XML ({expat.ErrorString(error.code)} at column {error.offset + 1}):"
    " repair or delete the row, or copy the file again"
  )
