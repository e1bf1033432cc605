"""Tables of text: cells between tabs, a row a line."""

import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from gtr_jax.files import fields
from gtr_jax.labelled.ledger import Ledger

Made = TypeVar("Made")


def rows(
  path: pathlib.Path,
  columns: Sequence[str],
  make: Callable[[list[str]], Made],
  ledger: Ledger,
  hint: str = "",
) -> Iterator[tuple[int, Made]]:
  """Line numbers and what is made of the cells of each line.

  Args:
    columns: what is in the cells, as a message names them.
    make: raises a ValueError that says what is wrong with the cells.
    hint: what to do where their number is another.
  """
  return ledger.parsed(path, lambda line: make(cells(line, columns, hint)))


def texts(
  path: pathlib.Path,
  columns: tuple[str, str],
  ledger: Ledger,
  hint: str = "",
) -> Iterator[tuple[int, tuple[str, str, str]]]:
  """Line numbers, and id, empty title and text of each line of two cells.

  Args:
    columns: as of `rows`, the id first.
  """

  def make(found: list[str]) -> tuple[str, str, str]:
    return identifier(found[0], columns[0]), "", found[1]

  return rows(path, columns, make, ledger, hint)


def cells(line: str, columns: Sequence[str], hint: str = "") -> list[str]:
  """The cells of a line.

  Raises:
    ValueError: their number is another, or one holds a NUL.
  """
  found = line.split("\t")
  if len(found) != len(columns):
    raise ValueError(
      f"got {len(found)} {'cell' if len(found) == 1 else 'cells'} between"
      f" tabs, due are {len(columns)}: {', '.join(columns)}"
      + (f"; {hint}" if hint else "")
    )
  if "\0" in line:
    raise ValueError(
      "holds a NUL character: the file is damaged, copy it again"
    )
  return found


def identifier(cell: str, name: str) -> str:
  """An id without the spaces around it.

  Raises:
    ValueError: it is empty.
  """
  return fields.identifier(cell.strip(), name)


def number(cell: str, name: str) -> float:
  """Raises ValueError unless the cell holds a finite number."""
  try:
    value = float(cell)
  except ValueError:
    value = float("nan")
  if not abs(value) < float("inf"):
    raise ValueError(f"the {name} is {cell!r:.40}, a number was due")
  return value
