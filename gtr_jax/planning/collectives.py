"""What a step sends through the interconnect, by kind of collective.

Counted are the bytes that one chip sends, as a ring over the n chips of a
group sends them, where `result` is what the collective gives to each chip:

  all-gather          result * (n - 1) / n
  reduce-scatter      result * (n - 1)
  all-reduce          result * 2 * (n - 1) / n
  all-to-all          result * (n - 1) / n
  collective-permute  result
  dcn                 what is sent to chips of other slices

Times the trips of the loops that it stands in.
"""

import collections
import math
import re
from collections.abc import Iterator

from gtr_jax.planning import hlo

KINDS = (
  "all-gather",
  "reduce-scatter",
  "all-reduce",
  "collective-permute",
  "all-to-all",
  "dcn",
)
# (bytes of the result, chips in a group) to bytes that a chip sends.
_SENT = {
  "all-gather": lambda size, n: size * (n - 1) / n,
  "reduce-scatter": lambda size, n: size * (n - 1),
  "all-reduce": lambda size, n: size * 2 * (n - 1) / n,
  "all-to-all": lambda size, n: size * (n - 1) / n,
  "collective-permute": lambda size, n: size,
  "dcn": lambda size, n: size,
}
# Named so by XLA's TPU compiler: an all-reduce of which each chip keeps a part.
_ALL_REDUCE_SCATTER = "all-reduce-scatter"

_IDS = re.compile(r'(channel_id=\d+|chain_id="\d+")')
_LISTED = re.compile(r"replica_groups=\{\{([\d,]*)\}")
_IOTA = re.compile(r"replica_groups=\[(\d+),(\d+)\]<=")
_MESH = re.compile(r"replica_groups=mesh\[([^\]]*)\]\s*\{([^}]*)\}")
_AXIS = re.compile(r"'([^']+)'(?::\(\d+\)(\d+))?")
_AXIS_SIZE = re.compile(r"'([^']+)'=(\d+)")


def sent_bytes(program: hlo.Program, num_chips: int) -> dict[str, int]:
  """Bytes that one chip sends in a run of the program, by kind."""
  totals: dict[str, float] = collections.defaultdict(float)
  runs, _ = program.runs()
  for name, times in runs.items():
    for kind, size, chips in _of_computation(program, name, num_chips):
      totals[kind] += times * _SENT[kind](size, chips)
  return {kind: round(totals[kind]) for kind in KINDS if totals.get(kind)}


def _of_computation(
  program: hlo.Program, name: str, num_chips: int
) -> Iterator[tuple[str, int, int]]:
  """(kind, bytes of the result, chips of a group) of each collective."""
  seen = set()
  for outer in program.computations[name]:
    for instruction in program.inside(outer):
      kind = _kind(instruction)
      if kind is None:
        continue
      # A collective that is spread over fusions, so that they overlap, stands
      # in each of them, with the numbers of its one channel and one chain.  A
      # channel alone may be that of many.
      ids = tuple(_IDS.findall(instruction.rest))
      if ids and (kind, ids) in seen:
        continue
      seen.add((kind, ids))
      chips = group_size(instruction, num_chips)
      size = _result_bytes(instruction)
      if kind == "all-reduce" and _ALL_REDUCE_SCATTER in outer.rest:
        yield "reduce-scatter", size // chips, chips
      else:
        yield kind, size, chips


def _kind(instruction: hlo.Instruction) -> str | None:
  opcode = instruction.opcode.removesuffix("-start").removeprefix("ragged-")
  if opcode == "send" and "megascale" in instruction.rest:
    return "dcn"
  return opcode if opcode in _SENT else None


def _result_bytes(instruction: hlo.Instruction) -> int:
  """An asynchronous start gives (operands, results, …), but an all-reduce's."""
  members = hlo.elements(instruction.shape)
  if instruction.opcode == "send":
    return hlo.num_bytes(members[0])
  is_pair = instruction.opcode.endswith("-start") and len(members) > 1
  if is_pair and instruction.opcode != "all-reduce-start":
    return hlo.num_bytes(members[1])
  return hlo.num_bytes(instruction.shape)


def group_size(instruction: hlo.Instruction, num_chips: int) -> int:
  """Chips that take part in one group of a collective."""
  text = instruction.rest
  if listed := _LISTED.search(text):
    return len(listed[1].split(","))
  if iota := _IOTA.search(text):
    return int(iota[2])
  if mesh := _MESH.search(text):
    sizes = {axis: int(size) for axis, size in _AXIS_SIZE.findall(mesh[1])}
    return math.prod(
      int(part) if part else sizes[axis]
      for axis, part in _AXIS.findall(mesh[2])
    )
  return num_chips
