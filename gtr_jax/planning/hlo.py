"""Reads a compiled program: what runs, and how often.

The text is XLA's, after all its passes: computations of instructions, one a
line.  A program is its entry computation; loops, calls and branches run other
computations.
"""

import collections
import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence

_HEAD = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_INSTRUCTION = re.compile(
  r"^\s+(?:ROOT )?%?([\w.\-]+) = (.*?)\s([a-z][\w\-]*)\((.*)$"
)
_ARRAY = re.compile(r"\b([a-z]\w*)\[([\d,]*)\]")
_NAME = re.compile(r"%([\w.\-]+)")
_CALLED = re.compile(r"\b(?:calls|to_apply)=%?([\w.\-]+)")
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
_TWO_BRANCHES = re.compile(r"(?:true|false)_computation=%?([\w.\-]+)")
_TRIPS = re.compile(r'known_trip_count"?:\{"?n"?:"?(\d+)')
_INTEGER = re.compile(r"^(-?\d+)\)")
_INDEX = re.compile(r"index=(\d+)")

_BITS = {"pred": 8, "token": 0, "opaque": 0, "c64": 64, "c128": 128}


@dataclasses.dataclass(frozen=True)
class Instruction:
  """One line.

  Attributes:
    name: unique in the program.
    shape: of the result, as written; a tuple stands in parentheses.
    opcode: such as "fusion".
    rest: operands and attributes, from behind the opening parenthesis.
    is_root: whether the computation returns it.
  """

  name: str
  shape: str
  opcode: str
  rest: str
  is_root: bool

  def operands(self) -> list[str]:
    """Names of the operands."""
    return _NAME.findall(self.rest.partition(")")[0])


@dataclasses.dataclass(frozen=True)
class Program:
  """A compiled program for one chip.

  Attributes:
    entry: name of the computation that runs.
    computations: name to instructions, in order.
  """

  entry: str
  computations: Mapping[str, Sequence[Instruction]]

  def runs(self) -> tuple[dict[str, int], int]:
    """Runs of each computation outside fusions, and the loops not understood.

    A loop whose number of trips cannot be told counts once.  Of the branches of
    a conditional all count: an upper bound.
    """
    runs: dict[str, int] = collections.Counter()
    unknown = 0

    def visit(name: str, times: int) -> None:
      nonlocal unknown
      runs[name] += times
      for instruction in self.computations[name]:
        if instruction.opcode == "while":
          trips = self.trips(name, instruction)
          unknown += trips is None
          count = 1 if trips is None else trips
          visit(_attribute(instruction, "body"), times * count)
        elif instruction.opcode == "conditional":
          for branch in _branches(instruction):
            visit(branch, times)
        elif instruction.opcode in ("call", "async-start"):
          for called in _CALLED.findall(instruction.rest):
            visit(called, times)

    visit(self.entry, 1)
    return dict(runs), unknown

  def trips(self, computation: str, loop: Instruction) -> int | None:
    """How often a loop runs, None where it cannot be told.

    As XLA says it; else the bound of the condition `i < bound` less the value
    that i starts from, where those are constants.  i is assumed to go up by 1,
    as in every loop that JAX makes of a scan.
    """
    if known := _TRIPS.search(loop.rest):
      return int(known[1])
    condition = self.computations[_attribute(loop, "condition")]
    bounds = [
      value
      for instruction in condition
      if (value := _constant(instruction)) is not None
    ]
    if len(bounds) != 1:
      return None
    counters = [
      index
      for instruction in condition
      if instruction.opcode == "get-tuple-element"
      and instruction.shape.startswith(("s32[]", "u32[]", "s64[]"))
      and (index := _INDEX.search(instruction.rest))
    ]
    if len(counters) != 1:
      return bounds[0]
    start = self._start(computation, loop, int(counters[0][1]))
    return max(bounds[0] - start, 0)

  def _start(self, computation: str, loop: Instruction, index: int) -> int:
    """The constant that a loop's counter starts from; 0 if it is none."""
    named = {item.name: item for item in self.computations[computation]}
    source = named.get(loop.operands()[0])
    if source is not None and source.opcode == "tuple":
      source = named.get(source.operands()[index])
    while source is not None and source.opcode in ("copy", "bitcast"):
      source = named.get(source.operands()[0])
    return (source and _constant(source)) or 0

  def inside(self, instruction: Instruction) -> Iterator[Instruction]:
    """An instruction and, where it is a fusion, all that is fused in it."""
    yield instruction
    if instruction.opcode != "fusion":
      return
    for called in _CALLED.findall(instruction.rest):
      for inner in self.computations.get(called, ()):
        yield from self.inside(inner)


def parse(text: str) -> Program:
  """The program of an HLO module's text.

  Raises:
    ValueError: if there is no entry computation in it.
  """
  computations: dict[str, list[Instruction]] = {}
  entry, current = None, None
  for line in text.splitlines():
    if head := _HEAD.match(line):
      current = computations.setdefault(head[2], [])
      entry = head[2] if head[1] else entry
    elif line.startswith("}"):
      current = None
    elif current is not None and (found := _INSTRUCTION.match(line)):
      is_root = line.lstrip().startswith("ROOT ")
      current.append(Instruction(*found.groups(), is_root=is_root))
  if entry is None:
    raise ValueError("no ENTRY in the HLO text: it is no whole module")
  return Program(entry, computations)


def num_bytes(shape: str) -> int:
  """Bytes of the arrays in a shape, without the padding of their tiles."""
  total = 0
  for dtype, dimensions in _ARRAY.findall(shape):
    size = 1
    for dimension in filter(None, dimensions.split(",")):
      size *= int(dimension)
    total += size * _num_bits(dtype)
  return -(-total // 8)


def elements(shape: str) -> list[str]:
  """The members of a tuple's shape; of another, itself."""
  shape = shape.strip()
  if not shape.startswith("("):
    return [shape]
  members, depth, start = [], 0, 1
  for place, character in enumerate(shape):
    depth += (character in "([{") - (character in ")]}")
    is_end = depth == 0
    if is_end or (character == "," and depth == 1):
      members.append(shape[start:place].strip())
      start = place + 1
    if is_end:
      break
  return members


def _num_bits(dtype: str) -> int:
  if dtype in _BITS:
    return _BITS[dtype]
  digits = re.search(r"\d+", dtype)
  return int(digits[0]) if digits else 0


def _attribute(instruction: Instruction, name: str) -> str:
  found = re.search(rf"\b{name}=%?([\w.\-]+)", instruction.rest)
  if found is None:
    raise ValueError(f"{instruction.name}: {instruction.opcode} without {name}")
  return found[1]


def _branches(instruction: Instruction) -> list[str]:
  if listed := _BRANCHES.search(instruction.rest):
    return _NAME.findall(listed[1])
  return _TWO_BRANCHES.findall(instruction.rest)


def _constant(instruction: Instruction) -> int | None:
  if instruction.opcode != "constant":
    return None
  value = _INTEGER.match(instruction.rest)
  return int(value[1]) if value else None
