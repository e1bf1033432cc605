"""The compiler's own estimate of the cycles that a program takes."""

import re

from gtr_jax.planning import hlo

_CYCLES = re.compile(r'"estimated_cycles":"?(\d+)')


def estimated(program: hlo.Program) -> int:
  """Sum of XLA's `estimated_cycles`, times the trips of the loops.

  The compiler writes an estimate to what it lays out itself: fusions, matrix
  products, copies.  Transfers that run beside them, collectives and sorts have
  none and count as nothing.
  """
  runs, _ = program.runs()
  return sum(
    times * int(cycles[1])
    for name, times in runs.items()
    for instruction in program.computations[name]
    if (cycles := _CYCLES.search(instruction.rest))
  )
