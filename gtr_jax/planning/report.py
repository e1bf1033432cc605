"""Estimates for people and for programs."""

from collections.abc import Mapping, Sequence
from typing import Any

from gtr_jax.planning import estimate
from gtr_jax.planning.memory import GIB

COLUMNS = (
  "topology",
  "remat",
  "batch_size",
  "num_chunks",
  "hbm_gib",
  "hbm_limit_gib",
  "fits",
  "collective_gib",
  "step_seconds_estimate",
)


def as_json(found: estimate.Estimate) -> dict[str, Any]:
  """The keys of `gtr plan --json` that every estimate has."""
  sent = found.sent
  kinds = found.memory
  return {
    "chips": found.chips,
    "hbm_gib": _gib(kinds.total),
    "hbm_limit_gib": _gib(found.limit),
    "fits": found.fits,
    "parameters_gib": _gib(kinds.parameters),
    "optimizer_gib": _gib(kinds.optimizer),
    "batch_gib": _gib(kinds.batch),
    "temporaries_gib": _gib(kinds.temporaries),
    "code_gib": _gib(kinds.code),
    "collective_gib": None if sent is None else _gib(sum(sent.values())),
    "collectives": None
    if sent is None
    else {kind: _gib(size) for kind, size in sent.items()},
    "model_tflops": _rounded(found.model_flops / 1e12),
    "executed_tflops": _rounded(found.executed_flops / 1e12),
    "compute_seconds": _rounded(found.compute_seconds),
    "collective_seconds": _rounded(found.collective_seconds),
    "step_seconds_estimate": _rounded(found.seconds),
    "utilization": _rounded(found.utilization),
    "unknown_loops": found.unknown_loops,
    "compile_seconds": round(found.compile_seconds, 1),
  }


def as_text(title: str, found: estimate.Estimate) -> str:
  """A few lines: memory, interconnect, operations, time."""
  kinds, limit = found.memory, found.limit
  chips = f"{found.chips} chip{'s' if found.chips > 1 else ''}"
  verdict = "fits" if found.fits else "DOES NOT FIT"
  lines = [
    f"{title}: {_gib(kinds.total)} of {_gib(limit)} GiB a chip, {chips}:"
    f" {verdict}",
    *_table(
      ("parameters", kinds.parameters),
      ("optimizer", kinds.optimizer),
      ("batch", kinds.batch),
      ("temporaries", kinds.temporaries),
      ("code", kinds.code),
    ),
  ]
  if found.sent is None:
    lines.append("  the compiler refused for want of memory; no more is known")
  elif found.sent:
    total = sum(found.sent.values()) / GIB
    by_kind = ", ".join(
      f"{kind} {size / GIB:.3f}" for kind, size in found.sent.items()
    )
    lines.append(f"  a chip sends {total:.3f} GiB: {by_kind}")
  lines.append(
    f"  {_rounded(found.model_flops / 1e12)} TFLOP are needed,"
    f" {_rounded(found.executed_flops / 1e12)} done, on all chips"
  )
  if found.seconds is not None:
    share = found.utilization or 0.0
    lines.append(
      f"  about {_rounded(found.seconds)} s: {_rounded(found.compute_seconds)}"
      f" computing, {_rounded(found.collective_seconds)} sending;"
      f" {share:.0%} of the chips' peak"
    )
  if found.unknown_loops:
    lines.append(
      f"  {found.unknown_loops} loops count once: their trips are unknown"
    )
  return "\n".join(lines)


def sweep_table(rows: Sequence[Mapping[str, Any]]) -> str:
  """A table of what differs between several plans."""
  cells = [list(COLUMNS)]
  cells += [[_cell(row.get(column)) for column in COLUMNS] for row in rows]
  widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
  return "\n".join(
    "  ".join(
      cell.ljust(width) for cell, width in zip(row, widths, strict=True)
    ).rstrip()
    for row in cells
  )


def _table(*rows: tuple[str, int]) -> list[str]:
  return [f"  {name:12}{size / GIB:8.3f} GiB" for name, size in rows]


def _cell(value: Any) -> str:
  if value is None:
    return "–"
  if isinstance(value, bool):
    return "yes" if value else "no"
  return str(value)


def _gib(size: float) -> float:
  return _rounded(size / GIB) or 0.0


def _rounded(value: float | None) -> float | None:
  """Three decimals, more for what is small."""
  if value is None:
    return None
  return round(value, 3) if abs(value) >= 0.1 else float(f"{value:.3g}")
