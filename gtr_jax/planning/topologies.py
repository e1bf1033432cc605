"""TPU slices by name, on a machine without a TPU."""

import dataclasses
import importlib.util
import math
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
from jax.experimental import topologies

NO_LIBTPU = (
  "libtpu, the compiler for TPUs, is not installed: pip install 'gtr_jax[plan]'"
)
_NAME = re.compile(r"^(\w+):(\d+(?:x\d+)+)$")


@dataclasses.dataclass(frozen=True)
class Chip:
  """A kind of chip.

  Attributes:
    kind: as in a slice's name.
    hbm_gib: what the compiler lets a program use; the rest of the chip's
      memory is reserved.
    peak_tflops: matrix products in bfloat16, as published.
    clock_ghz: peak_tflops by the products that the matrix units do in a cycle.
    interconnect_gbps: gigabits a second over all links, as published.
    dimensions: of its torus.
    options: of the compiler, so that a device is a whole chip.
  """

  kind: str
  hbm_gib: float
  peak_tflops: float
  clock_ghz: float
  interconnect_gbps: float
  dimensions: int
  options: Mapping[str, Any] = dataclasses.field(default_factory=dict)


CHIPS = {
  chip.kind: chip
  for chip in (
    Chip("v4", 30.75, 275, 1.05, 2400, 3, {"chip_config_name": "megacore"}),
    Chip("v5e", 15.75, 197, 1.5, 1600, 2),
    Chip("v5p", 95.74, 459, 1.75, 4800, 3),
    Chip("v6e", 31.25, 918, 1.75, 3200, 2),
  )
}


@dataclasses.dataclass(frozen=True)
class Slice:
  """A named slice, or several of them.

  Attributes:
    name: such as "v5e:4x4".
    chip: of what it is made.
    shape: chips along each dimension.
    num_slices: how many of them, joined by the data centre's network.
  """

  name: str
  chip: Chip
  shape: tuple[int, ...]
  num_slices: int = 1

  @property
  def num_chips(self) -> int:
    """Chips of all slices."""
    return math.prod(self.shape) * self.num_slices


def parse(name: str, num_slices: int = 1) -> Slice:
  """What a name such as "v5e:4x4" or "v4:2x2x4" says.

  Raises:
    ValueError: for a name of another form, or of an unknown chip.
  """
  found = _NAME.match(name)
  chip = CHIPS.get(found[1]) if found else None
  if not found or chip is None:
    raise ValueError(
      f"--topology is {name!r}, due is a chip and its slice: v4:2x2x2,"
      " v5e:4x4, v5p:2x2x4 or v6e:4x8"
    )
  shape = tuple(map(int, found[2].split("x")))
  if len(shape) == 2 and chip.dimensions == 3:
    shape = (*shape, 1)
  if len(shape) != chip.dimensions or 0 in shape:
    raise ValueError(
      f"--topology is {name!r}, but {chip.kind} has {chip.dimensions}"
      f" dimensions: such as {chip.kind}:{'x'.join('224'[: chip.dimensions])}"
    )
  if num_slices < 1:
    raise ValueError(f"--num_slices is {num_slices}; it must be at least 1")
  return Slice(name, chip, shape, num_slices)


def devices(slice_: Slice) -> Sequence[Any]:
  """The slice's chips as devices that one can compile for, but not run on.

  Raises:
    ValueError: without libtpu, or for a slice that the compiler does not know.
  """
  found = importlib.util.find_spec("libtpu")
  if found is None or found.origin is None:
    raise ValueError(NO_LIBTPU)
  _quiet()
  # A host holds 2x2 chips of a slice that both dimensions let it, else fewer.
  bounds = [2 if size % 2 == 0 else 1 for size in slice_.shape[:2]]
  options = {
    "chips_per_host_bounds": (*bounds, 1),
    "num_slices": slice_.num_slices,
    **slice_.chip.options,
  }
  layout = "x".join(map(str, slice_.shape))
  try:
    topology = topologies.get_topology_desc(
      f"{slice_.chip.kind}:{layout}", "tpu", **options
    )
  except jax.errors.JaxRuntimeError as error:
    raise ValueError(
      f"--topology {slice_.name}: the TPU compiler does not know it:"
      f" {' '.join(str(error).split())}"
    ) from error
  chips = topology.devices
  if len(chips) != slice_.num_chips:
    raise ValueError(
      f"--topology {slice_.name}: the TPU compiler makes {len(chips)} devices"
      f" of {slice_.num_chips} chips; update libtpu"
    )
  return chips


def _quiet() -> None:
  """libtpu asks a TPU machine's environment, and complains where it is not."""
  for name, value in (
    ("TPU_SKIP_MDS_QUERY", "1"),
    ("ALLOW_MULTIPLE_LIBTPU_LOAD", "1"),  # Several may plan at a time.
    ("TPU_ACCELERATOR_TYPE", "v5litepod-16"),
    ("TPU_WORKER_HOSTNAMES", "localhost"),
    ("TPU_MIN_LOG_LEVEL", "3"),
    ("TPU_STDERR_LOG_LEVEL", "3"),
  ):
    os.environ.setdefault(name, value)
