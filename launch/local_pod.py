#!/usr/bin/env python3
"""Starts one command as a pod of processes on this machine.

  python launch/local_pod.py --processes 4 --devices_per_process 2 -- \\
    gtr train --gin_file=experiments/demo_stage1.gin --gin.MODEL_DIR="'pod'"

Every process gets T5X's three flags (--coordinator_address, --process_count,
--process_index) at the end of its command, CPU devices of its own, and its
number before each line that it prints.  SIGTERM and SIGINT are passed on.
Once a process has failed, the others have --grace_seconds to end by themselves.

The exit status is 0, or that of the process that failed first (128 + number of
the signal that killed it).
"""

import argparse
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import IO

_LOOK_SECONDS = 0.05


def main(argv: Sequence[str] | None = None) -> int:
  args = _parse(argv)
  address = f"127.0.0.1:{_free_port()}"
  environment = {
    **os.environ,
    "JAX_PLATFORMS": "cpu",
    "JAX_NUM_CPU_DEVICES": str(args.devices_per_process),
    "PYTHONUNBUFFERED": "1",
  }
  processes, printers = [], []
  for index in range(args.processes):
    process = subprocess.Popen(
      [
        *args.command,
        f"--coordinator_address={address}",
        f"--process_count={args.processes}",
        f"--process_index={index}",
      ],
      env=environment,
      stdin=subprocess.DEVNULL,
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
    )
    processes.append(process)
    printers += _print_lines(index, process)
    _say(f"process {index} has the id {process.pid}")
  _pass_signals_on(processes)
  status = _wait(processes, args.grace_seconds)
  for printer in printers:
    printer.join()
  return status


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--processes", type=int, required=True, metavar="N")
  parser.add_argument("--devices_per_process", type=int, default=1, metavar="M")
  parser.add_argument("--grace_seconds", type=float, default=60, metavar="S")
  parser.add_argument("command", nargs="+", metavar="-- COMMAND")
  args = parser.parse_args(argv)
  for name in ("processes", "devices_per_process"):
    if getattr(args, name) < 1:
      parser.error(f"--{name} is {getattr(args, name)}; at least 1 was due")
  return args


def _free_port() -> int:
  with socket.socket() as listener:
    listener.bind(("127.0.0.1", 0))
    return listener.getsockname()[1]


def _print_lines(
  index: int, process: subprocess.Popen[bytes]
) -> list[threading.Thread]:
  """Threads that print what a process says, its number before each line."""
  prefix = f"[{index}] ".encode()

  def copy(source: IO[bytes], target: IO[bytes]) -> None:
    for line in source:
      target.write(prefix + line.rstrip(b"\n") + b"\n")
      target.flush()

  threads = []
  for source, target in (
    (process.stdout, sys.stdout.buffer),
    (process.stderr, sys.stderr.buffer),
  ):
    assert source is not None
    thread = threading.Thread(target=copy, args=(source, target))
    thread.start()
    threads.append(thread)
  return threads


def _pass_signals_on(processes: Sequence[subprocess.Popen[bytes]]) -> None:
  def on_signal(number, frame):
    del frame
    for process in processes:
      with contextlib.suppress(ProcessLookupError):
        process.send_signal(number)

  for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, on_signal)


def _wait(
  processes: Sequence[subprocess.Popen[bytes]], grace_seconds: float
) -> int:
  """The status of the first process that failed, or 0, when all have ended."""
  status, deadline = 0, None
  running = dict(enumerate(processes))
  while running:
    for index, process in list(running.items()):
      code = process.poll()
      if code is None:
        continue
      del running[index]
      if code and deadline is None:
        status = 128 - code if code < 0 else code
        deadline = time.monotonic() + grace_seconds
        _say(f"process {index} failed with status {status}")
    if deadline is not None and time.monotonic() > deadline and running:
      _say(f"processes {', '.join(map(str, running))} did not end: killed")
      for process in running.values():
        process.kill()
      deadline = float("inf")
    time.sleep(_LOOK_SECONDS)
  return status


def _say(text: str) -> None:
  print(f"pod: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
  sys.exit(main())
