"""Starting: `gtr --help`; a new process until its first step has ended."""

import json
import subprocess
import sys
import time
from collections.abc import Sequence

from benchmarks import runner

_FIRST_STEP = """
import json, sys, time
start = time.perf_counter()
from benchmarks import training
size = training.SIZES[sys.argv[1]]
imported = time.perf_counter()
steps = training.Steps(size, training.full_rows(size))
initial = time.perf_counter()
steps()
print(json.dumps({
  "imports": imported - start,
  "parameters": initial - imported,
  "first step": time.perf_counter() - initial,
}))
"""


def main(arguments: Sequence[str] | None = None) -> None:
  options = runner.parser(__doc__, "small").parse_args(arguments)
  help_times, step_times, parts = [], [], {}
  for _ in range(options.repeats):
    seconds, _ = _run("-m", "gtr_jax.run.main", "--help")
    help_times.append(seconds)
    seconds, output = _run("-c", _FIRST_STEP, options.size)
    parts = json.loads(output.splitlines()[-1])
    step_times.append(seconds)
  for name, seconds in (
    ("gtr --help", help_times),
    ("start to first step", step_times),
  ):
    runner.show(
      f"startup: {name}",
      min(seconds),
      "s",
      median=sorted(seconds)[len(seconds) // 2],
      repeats=options.repeats,
      size=options.size,
      **({"parts": parts} if seconds is step_times else {}),
    )


def _run(*command: str) -> tuple[float, str]:
  start = time.perf_counter()
  done = subprocess.run(
    [sys.executable, *command], check=True, capture_output=True, text=True
  )
  return time.perf_counter() - start, done.stdout


if __name__ == "__main__":
  main()
