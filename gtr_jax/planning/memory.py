"""What a chip's memory holds."""

import dataclasses
import math
import re
from typing import Any

import jax

GIB = 2**30
_SIZE = r"([\d.]+)([KMGT]?)i?B?"
# What XLA says in place of a program that needs too much.
_REFUSALS = (
  re.compile(rf"Used {_SIZE} of {_SIZE} hbm"),
  re.compile(
    rf"memory required for HLO temporaries \({_SIZE}\) exceeds available HBM"
    rf" \({_SIZE}\)"
  ),
)
_UNITS = {"": 2**0, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclasses.dataclass(frozen=True)
class Memory:
  """Bytes of one chip, by kind.

  Attributes:
    parameters: float32, its share.
    optimizer: the optimizer's state, its share.
    batch: token ids and keys, its share.
    temporaries: activations, gradients, what is gathered, the padding of
      arrays to whole tiles, and outputs that take no argument's place.
    code: the program.
    total: the highest use at any time.
  """

  parameters: int
  optimizer: int
  batch: int
  temporaries: int
  code: int
  total: int


def of_program(
  compiled: jax.stages.Compiled, params: Any, optimizer: Any, batch: Any
) -> Memory:
  """What a compiled program takes, as the compiler has laid it out.

  Args:
    compiled: the program.
    params, optimizer, batch: trees of shapes with shardings.
  """
  stats: Any = compiled.memory_analysis()
  code = stats.generated_code_size_in_bytes
  laid_out = (
    stats.argument_size_in_bytes
    + stats.temp_size_in_bytes
    + stats.output_size_in_bytes
    - stats.alias_size_in_bytes
  )
  # The sum, where the compiler does not tell when each of them is in use.
  return _split(
    (stats.peak_memory_in_bytes or laid_out) + code,
    code,
    *map(share_bytes, (params, optimizer, batch)),
  )


def refused(used: int, params: Any, optimizer: Any, batch: Any) -> Memory:
  """What a program would take that the compiler refused for it."""
  return _split(used, 0, *map(share_bytes, (params, optimizer, batch)))


def _split(
  total: int, code: int, parameters: int, optimizer: int, batch: int
) -> Memory:
  temporaries = max(total - code - parameters - optimizer - batch, 0)
  return Memory(parameters, optimizer, batch, temporaries, code, total)


def share_bytes(tree: Any) -> int:
  """Bytes of one device's share of a tree of shapes with shardings."""
  return sum(
    math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
    for leaf in jax.tree.leaves(tree)
  )


def parse_refusal(message: str) -> tuple[int, int] | None:
  """(bytes wanted, bytes there are), None if the message is of another kind."""
  for pattern in _REFUSALS:
    if found := pattern.search(message):
      used, used_unit, limit, limit_unit = found.groups()
      return (
        round(float(used) * _UNITS[used_unit]),
        round(float(limit) * _UNITS[limit_unit]),
      )
  return None
