"""From a compiled program to what a step costs on a slice."""

import dataclasses

from gtr_jax.planning import (
  ahead_of_time,
  collectives,
  cycles,
  memory,
  topologies,
)

# What a chip can send to other slices: 25 GB/s a host, shared by 8 chips.
_DCN_BYTES_PER_SECOND = 3.125e9


@dataclasses.dataclass(frozen=True)
class Estimate:
  """What one run of a program costs each chip.

  Attributes:
    chips: of all slices.
    memory: bytes a chip.
    limit: bytes that there are.
    sent: bytes that a chip sends, by kind; None if the compiler refused.
    compute_seconds: by the compiler's cycles; None if it refused or tells none.
    collective_seconds: of what is sent.
    unknown_loops: loops that count once, because their trips are unknown.
    model_flops: operations that the work needs, on all chips.
    executed_flops: operations of all matrix products, on all chips.
    peak_flops: operations a second of all chips at most; None if unknown.
    compile_seconds: of tracing and compiling.
  """

  chips: int
  memory: memory.Memory
  limit: float
  sent: dict[str, int] | None
  compute_seconds: float | None
  collective_seconds: float | None
  unknown_loops: int
  model_flops: int
  executed_flops: int
  peak_flops: float | None
  compile_seconds: float

  @property
  def fits(self) -> bool:
    """Whether a chip has the memory."""
    return self.sent is not None and self.memory.total <= self.limit

  @property
  def seconds(self) -> float | None:
    """Computing, then sending: nothing at the same time."""
    if self.compute_seconds is None or self.collective_seconds is None:
      return None
    return self.compute_seconds + self.collective_seconds

  @property
  def utilization(self) -> float | None:
    """Share of the chips' peak that the needed operations would be."""
    if not self.seconds or not self.peak_flops:
      return None
    return self.model_flops / (self.seconds * self.peak_flops)


def on_slice(
  result: ahead_of_time.Result, slice_: topologies.Slice
) -> Estimate:
  """The estimate for a TPU slice."""
  chip = slice_.chip
  sent = compute = communication = None
  unknown = 0
  if result.program is not None:
    sent = collectives.sent_bytes(result.program, slice_.num_chips)
    _, unknown = result.program.runs()
    compute = cycles.estimated(result.program) / (chip.clock_ghz * 1e9)
    communication = sum(
      size / (_DCN_BYTES_PER_SECOND if kind == "dcn" else _bandwidth(chip))
      for kind, size in sent.items()
    )
  return Estimate(
    chips=slice_.num_chips,
    memory=result.memory,
    limit=chip.hbm_gib * memory.GIB,
    sent=sent,
    compute_seconds=compute,
    collective_seconds=communication,
    unknown_loops=unknown,
    model_flops=result.model_flops,
    executed_flops=result.executed_flops,
    peak_flops=chip.peak_tflops * 1e12 * slice_.num_chips,
    compile_seconds=result.seconds,
  )


def on_gpu(result: ahead_of_time.Result, memory_gib: float) -> Estimate:
  """The estimate for one GPU, from a program that was compiled for a CPU."""
  return Estimate(
    chips=1,
    memory=result.memory,
    limit=memory_gib * memory.GIB,
    sent={} if result.program is not None else None,
    compute_seconds=None,
    collective_seconds=None,
    unknown_loops=0,
    model_flops=result.model_flops,
    executed_flops=result.executed_flops,
    peak_flops=None,
    compile_seconds=result.seconds,
  )


def accumulated(one: Estimate, num_batches: int) -> Estimate:
  """The estimate of an update by the mean gradient of several batches.

  Each batch costs what one costs, its update included; the sum of the
  gradients, as large as the parameters, is held besides.
  """
  if num_batches == 1:
    return one
  kinds, extra = one.memory, one.memory.parameters
  return dataclasses.replace(
    one,
    memory=dataclasses.replace(
      kinds,
      temporaries=kinds.temporaries + extra,
      total=kinds.total + extra,
    ),
    sent=_times(one.sent, num_batches),
    compute_seconds=one.compute_seconds and one.compute_seconds * num_batches,
    collective_seconds=one.collective_seconds
    and one.collective_seconds * num_batches,
    model_flops=one.model_flops * num_batches,
    executed_flops=one.executed_flops * num_batches,
  )


def _times(sent: dict[str, int] | None, number: int) -> dict[str, int] | None:
  return None if sent is None else {k: v * number for k, v in sent.items()}


def slice_assumptions(slice_: topologies.Slice) -> list[str]:
  """What the estimate of a slice rests on, for people."""
  chip = slice_.chip
  return [
    f"a {chip.kind} lets a program use {chip.hbm_gib} GiB; sizes are XLA's own"
    " buffers",
    "computing: the compiler's estimated cycles × known trips, at"
    f" {chip.clock_ghz} GHz; transfers beside it and sorts have no estimate",
    "sending, as a ring of n chips does: result × (n-1)/n for an all-gather or"
    " all-to-all, result × (n-1) for a reduce-scatter, result × 2(n-1)/n for an"
    " all-reduce, result for a permute",
    f"at {_bandwidth(chip) / 1e9:g} GB/s, one direction of the published"
    f" {chip.interconnect_gbps} Gbit/s; between slices at"
    f" {_DCN_BYTES_PER_SECOND / 1e9} GB/s a chip",
    "computing and sending do not overlap: overlap makes it faster, waiting for"
    " data or for other chips slower",
  ]


GPU_ASSUMPTIONS = [
  "no GPU compiler is here: buffers are those of XLA's CPU compiler for one"
  " device, which fuses less and may keep more or less than a GPU's",
  "no estimate of the time",
]


def _bandwidth(chip: topologies.Chip) -> float:
  """Bytes a second that a chip sends over all its links."""
  return chip.interconnect_gbps * 1e9 / 8 / 2
