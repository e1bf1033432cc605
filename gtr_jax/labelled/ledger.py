"""What was left out and why, counted: nothing is dropped in silence."""

import collections
import functools
import pathlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from gtr_jax.files import lines

Parsed = TypeVar("Parsed")

_STRIDE = 1024


@dataclass
class Ledger:
  """Counts what is read, and what is left out where that was asked for.

  Attributes:
    on_bad_line: "error" turns everything that would be left out into an error.
    say: takes a summary a reason.
    progress: takes numbers of lines that were read since.
    counts: of what was read.
    left_out: by reason.
    with_title, without_title: passages by the file that they came from.
  """

  on_bad_line: lines.OnBadLine = "error"
  say: lines.Report = lines.to_standard_error
  progress: Callable[[int], None] = lambda number: None
  counts: collections.Counter[str] = field(default_factory=collections.Counter)
  left_out: collections.Counter[str] = field(
    default_factory=collections.Counter
  )
  filtered: collections.Counter[str] = field(
    default_factory=collections.Counter
  )
  with_title: collections.Counter[str] = field(
    default_factory=collections.Counter
  )
  without_title: collections.Counter[str] = field(
    default_factory=collections.Counter
  )
  _first: dict[str, str] = field(default_factory=dict)

  def leave_out(self, reason: str, message: str) -> None:
    """Counts something bad; an error unless bad lines are skipped.

    Args:
      reason: a name to count it under, such as "unknown_negative".
      message: `file:line: what came, what was due`.

    Raises:
      lines.BadLineError: the message, and how to go on without it.
    """
    if self.on_bad_line == "error":
      raise lines.BadLineError(
        f"{message}: repair it, or leave such out with --on_bad_line=skip"
      )
    self.left_out[reason] += 1
    self._first.setdefault(reason, message)

  def parsed(
    self, path: pathlib.Path, parse: Callable[[str], Parsed]
  ) -> Iterator[tuple[int, Parsed]]:
    """Line numbers, from 1, and what `parse` makes of the lines.

    `parse` raises a ValueError that says what is wrong with a line.
    """
    self.left_out["bad_line"] += yield from lines.parse_lines(
      path, functools.partial(self._parse, parse), self.on_bad_line, self.say
    )

  def _parse(
    self, parse: Callable[[str], Parsed], number: int, line: str
  ) -> tuple[int, Parsed]:
    if number % _STRIDE == 0:
      self.progress(_STRIDE)
    return number, parse(line)

  def close(self) -> None:
    """Says a line for every reason; bad lines were said file by file."""
    for reason, first in self._first.items():
      number = self.left_out[reason]
      self.say(f"left out: {reason} {number}, first: {first}")
