"""Times things side by side and prints a JSON line a figure.

Cases take turns, so that whatever else the machine does falls on all of them.
Wall-clock time and processor time are both told: on a machine that others use,
the processor time is the steadier one.
"""

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

LIBRARIES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


@dataclass(frozen=True)
class Sample:
  """Seconds that one call took."""

  wall: float
  cpu: float


@dataclass(frozen=True)
class Times:
  """Of the calls of one case, in order."""

  samples: Sequence[Sample]

  def best(self, clock: str = "wall") -> float:
    return min(getattr(sample, clock) for sample in self.samples)

  def median(self, clock: str = "wall") -> float:
    return statistics.median(getattr(sample, clock) for sample in self.samples)

  def spread(self) -> float:
    """(slowest - fastest) / median."""
    walls = [sample.wall for sample in self.samples]
    return (max(walls) - min(walls)) / self.median()


def timed(function: Callable[[], Any]) -> Callable[[], Sample]:
  """A case: `function` must return only when its work is done."""

  def case() -> Sample:
    wall, cpu = time.perf_counter(), time.process_time()
    function()
    return Sample(time.perf_counter() - wall, time.process_time() - cpu)

  return case


def alternate(
  cases: Mapping[str, Callable[[], Sample]], repeats: int
) -> dict[str, Times]:
  """Calls the cases in turn; a first call of each, that compiles, is not
  counted."""
  for case in cases.values():
    case()
  samples: dict[str, list[Sample]] = {name: [] for name in cases}
  for number in range(repeats):
    names = list(cases) if number % 2 == 0 else list(cases)[::-1]
    for name in names:
      samples[name].append(cases[name]())
  return {name: Times(of_case) for name, of_case in samples.items()}


def show(figure: str, value: float, unit: str, **details: Any) -> None:
  """Prints one JSON line."""
  line = {
    "figure": figure,
    "value": _rounded(value),
    "unit": unit,
    **{name: _rounded(detail) for name, detail in details.items()},
    **_setting(),
  }
  print(json.dumps(line), flush=True)


def show_rate(
  figure: str,
  unit: str,
  work: float,
  times: Times,
  beside: str | None = None,
  beside_times: Times | None = None,
  **details: Any,
) -> None:
  """A rate, and how many times that of something else it is.

  Args:
    work: units that one call does.
    beside: what else was timed.
  """
  if beside is not None and beside_times is not None:
    details = {
      "beside": {
        "name": beside,
        "value": _rounded(work / beside_times.best()),
        "median": _rounded(work / beside_times.median()),
        "spread": _rounded(beside_times.spread()),
        "cpu_seconds": _rounded(beside_times.best("cpu")),
      },
      "ratio": beside_times.best() / times.best(),
      "ratio_of_medians": beside_times.median() / times.median(),
      "ratio_of_cpu": beside_times.best("cpu") / times.best("cpu"),
      **details,
    }
  show(
    figure,
    work / times.best(),
    unit,
    median=work / times.median(),
    spread=times.spread(),
    seconds=times.best(),
    cpu_seconds=times.best("cpu"),
    repeats=len(times.samples),
    **details,
  )


def parser(description: str | None, size: str) -> argparse.ArgumentParser:
  """The flags of every benchmark."""
  flags = argparse.ArgumentParser(description=description)
  flags.add_argument("--size", choices=("tiny", "small", "base"), default=size)
  flags.add_argument("--repeats", type=int, default=5)
  return flags


def _rounded(value: Any) -> Any:
  return float(f"{value:.4g}") if isinstance(value, float) else value


def _setting() -> dict[str, Any]:
  return {
    "hardware": _hardware(),
    "versions": {name: _version(name) for name in ("gtr_jax", *LIBRARIES)},
    "commit": _commit(),
    "command": shlex.join(["python", *_module(), *sys.argv[1:]]),
    "date": datetime.date.today().isoformat(),
  }


def _hardware() -> dict[str, Any]:
  import jax  # Here: a start is timed by a process that needs no JAX.

  devices = jax.devices()
  return {
    "devices": f"{len(devices)} {devices[0].device_kind}",
    "cpu": f"{os.cpu_count()} {_processor()}",
    "load": _rounded(os.getloadavg()[0]),
  }


def _processor() -> str:
  try:
    with open("/proc/cpuinfo") as lines:
      names = [line for line in lines if line.startswith("model name")]
    return names[0].split(":")[1].strip()
  except (OSError, IndexError):
    return platform.machine()


def _version(library: str) -> str | None:
  try:
    return importlib.metadata.version(library)
  except importlib.metadata.PackageNotFoundError:
    return None


def _commit() -> str | None:
  command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
  folder = os.path.dirname(os.path.abspath(__file__))
  try:
    done = subprocess.run(
      command, cwd=folder, capture_output=True, text=True, check=True
    )
  except (OSError, subprocess.CalledProcessError):
    return None
  return done.stdout.strip()


def _module() -> list[str]:
  spec = getattr(sys.modules["__main__"], "__spec__", None)
  return ["-m", spec.name] if spec else [os.path.basename(sys.argv[0])]
