"""Large JSON files that are one list or one object, read item by item."""

import codecs
import contextlib
import io
import math
import pathlib
import re
from collections.abc import Iterable, Iterator
from typing import IO, Any, cast

from gtr_jax.files import lines, optional, streams

_MAX_DEPTH = 100

_FIRST_HALF = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
# An escape: a pair of surrogates, one alone (the group), or anything else.
_ESCAPE = re.compile(
  rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
  rb"|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
  re.DOTALL,
)
_MARK, _MARK_ESCAPE = "\ufffe", rb"\ufffe"  # No character, by Unicode.
_ESCAPE_BYTES = 12
_LONGEST_HELD = 1 << 20
_EMPTY = {"start_map": dict, "start_array": list}


def items(path: pathlib.Path) -> Iterator[tuple[int, Any]]:
  """Numbers from 1 and items of a file that is one JSON list.

  Raises:
    lines.BadLineError: the stream breaks, always: nobody knows what is lost.
    ValueError: ijson is not installed.
  """
  for number, (_, value) in _numbered(path, "start_array", "list"):
    yield number, value


def members(path: pathlib.Path) -> Iterator[tuple[int, str, Any]]:
  """Numbers from 1, names and values of a file that is one JSON object."""
  for number, (name, value) in _numbered(path, "start_map", "object"):
    yield number, name, value


def score(value: Any, name: str) -> float:
  """A finite number.

  Raises:
    ValueError: it is something else.
  """
  is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
  if not is_number or not math.isfinite(value):
    raise ValueError(f"{name!r} is {value!r:.40}, a number was due")
  return float(value)


def _numbered(
  path: pathlib.Path, root: str, due: str
) -> Iterator[tuple[int, tuple[str, Any]]]:
  """Numbers the values below the root, and says where the stream breaks."""
  ijson = optional.load("ijson", "data")
  number = 0
  with _open(path) as stream:
    events = ijson.basic_parse(_Marked(stream), use_float=True)
    found = _values(events, root, due)
    while True:
      try:
        value = next(found, None)
      except (OSError, MemoryError):
        raise
      except Exception as error:  # ijson's, the stream's, or of the bytes.
        raise _broken(path, number, error) from None
      if value is None:
        break
      number += 1
      yield number, value
  if not number:
    raise lines.BadLineError(f"{path}:1: an empty JSON {due}")


def _values(
  events: Iterable[tuple[str, Any]], root: str, due: str
) -> Iterator[tuple[str, Any]]:
  """Names (empty in a list) and values right below the root.

  The library's own builder overflows the stack on deep nesting.
  """
  begun = False
  inner: list[Any] = []  # The lists and objects that are not yet whole.
  names = [
    ""
  ]  # The name of the value to come, in the root and in each of them.
  for kind, value in events:
    if not begun:
      if kind != root:
        raise ValueError(f"one JSON {due} was due")
      begun = True
    elif kind == "map_key":
      names[-1] = _unmarked(value)
    elif kind in ("end_map", "end_array"):
      if inner:  # Otherwise it is the end of the root.
        whole = inner.pop()
        names.pop()
        if not inner:
          yield names[-1], whole
    else:
      is_inner = kind in _EMPTY
      made = _EMPTY[kind]() if is_inner else _unmarked(value)
      if not inner:
        if not is_inner:
          yield names[-1], made
      elif isinstance(inner[-1], list):
        inner[-1].append(made)
      else:
        inner[-1][names[-1]] = made
      if is_inner:
        if len(inner) == _MAX_DEPTH:
          raise ValueError(f"nested deeper than {_MAX_DEPTH}")
        inner.append(made)
        names.append("")


class _Marked:
  """A stream whose escapes of half a character are told from all others.

  The library makes question marks of them; here a mark stands for each.  It
  also takes time that grows with the square of the length of a text, so a text
  that is longer than a line may be is refused.
  """

  def __init__(self, stream: IO[bytes]):
    self._stream, self._left = stream, b""
    self._without_quote = 0  # Bytes since a text began or ended.

  def read(self, size: int) -> bytes:
    while size:
      piece = self._stream.read(size)
      quote = piece.rfind(b'"')
      self._without_quote = (
        len(piece) - quote - 1 + (self._without_quote if quote < 0 else 0)
      )
      if self._without_quote > lines.MAX_LINE_BYTES:
        raise ValueError(f"a text of more than {lines.MAX_LINE_BYTES} bytes")
      content = self._left + piece
      end = len(content)
      if piece and len(content) < _LONGEST_HELD + size:
        # An escape may go on in the next piece, with all backslashes before.
        start = content.find(b"\\", max(end - _ESCAPE_BYTES, 0))
        if start >= 0:
          if _FIRST_HALF.fullmatch(content, max(start - 6, 0), start):
            start -= 6  # What was found may be the other half.
          end = len(content[:start].rstrip(b"\\"))
      self._left = content[end:]
      if end or not piece:
        return _marked(content[:end])
    return b""


def _marked(content: bytes) -> bytes:
  if not _SURROGATE.search(content):
    return content
  return _ESCAPE.sub(lambda f: _MARK_ESCAPE if f[1] else f[0], content)


def _unmarked(value: Any) -> Any:
  """With the half character itself where a mark stands for one."""
  if isinstance(value, str) and _MARK in value:
    return value.replace(_MARK, "\ud800")
  return value


def _broken(
  path: pathlib.Path, number: int, error: Exception
) -> lines.BadLineError:
  # ijson shows the bytes around the place below its first line.
  reason = error.args[0] if error.args else type(error).__name__
  if isinstance(reason, bytes):
    reason = reason.decode(errors="replace")
  first = str(reason).strip().partition("\n")[0][:160]
  return lines.BadLineError(
    f"{path}: the JSON breaks after item {number} ({first}): copy the file"
    " again"
  )


@contextlib.contextmanager
def _open(path: pathlib.Path) -> Iterator[IO[bytes]]:
  with streams.opened(path) as opened:
    stream = cast(io.BufferedReader, opened)
    if stream.peek(len(codecs.BOM_UTF8)).startswith(codecs.BOM_UTF8):
      stream.read(len(codecs.BOM_UTF8))
    yield stream
