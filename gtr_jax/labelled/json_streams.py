"""Large JSON files that are one list or one object, read item by item."""

import codecs
import contextlib
import io
import math
import pathlib
from collections.abc import Iterator
from typing import IO, Any, cast

from gtr_jax.files import lines, optional, streams


def items(path: pathlib.Path) -> Iterator[tuple[int, Any]]:
  """Numbers from 1 and items of a file that is one JSON list.

  Raises:
    lines.BadLineError: the stream breaks, always: nobody knows what is lost.
    ValueError: ijson is not installed.
  """
  ijson = optional.load("ijson", "data")
  with _open(path) as stream:
    yield from _told(path, ijson.items(stream, "item", use_float=True), "[")


def members(path: pathlib.Path) -> Iterator[tuple[int, str, Any]]:
  """Numbers from 1, names and values of a file that is one JSON object."""
  ijson = optional.load("ijson", "data")
  with _open(path) as stream:
    found = ijson.kvitems(stream, "", use_float=True)
    for number, (name, value) in _told(path, found, "{"):
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


def _told(
  path: pathlib.Path, found: Iterator[Any], opening: str
) -> Iterator[tuple[int, Any]]:
  """Numbers the items, and says where the stream breaks."""
  number = 0
  iterator = iter(found)
  while True:
    try:
      item = next(iterator)
    except StopIteration:
      break
    except Exception as error:  # ijson's, the stream's, or of the text's bytes.
      if isinstance(error, (OSError, MemoryError)):
        raise
      raise _broken(path, number, error) from None
    number += 1
    yield number, item
  if not number:
    raise lines.BadLineError(
      f"{path}:1: nothing in the file, due was one JSON value that begins with"
      f" {opening}"
    )


def _broken(
  path: pathlib.Path, number: int, error: Exception
) -> lines.BadLineError:
  return lines.BadLineError(
    f"{path}: the JSON breaks after item {number}"
    f" ({' '.join(str(error).split())[:160]}): copy the file again"
  )


@contextlib.contextmanager
def _open(path: pathlib.Path) -> Iterator[IO[bytes]]:
  with streams.opened(path) as opened:
    stream = cast(io.BufferedReader, opened)
    if stream.peek(len(codecs.BOM_UTF8)).startswith(codecs.BOM_UTF8):
      stream.read(len(codecs.BOM_UTF8))
    yield stream
