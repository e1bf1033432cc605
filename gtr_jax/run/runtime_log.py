"""One clear line in place of what JAX's runtime says when a process is lost.

The runtime ends its process from C++, so no Python code of that process can
say anything any more.  What C++ writes to standard error therefore goes through
a process of its own, which is this file: it passes everything on, but for the
runtime's talk about lost processes, of which it makes a line for the user.
"""

import io
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator

# Severity and source file of a line of the runtime's log.
_LOGGED = re.compile(r"([IWEF])\d{4} [\d:.]+ +\d+ ([\w./]+):\d+\] ")
# What these say is told better by the last line, or is of no use.
_HIDDEN = re.compile(r"coordination|preemption|distributed")
_GLOO = re.compile(r"\[Gloo\] Rank ")
_FATAL = "JAX distributed service detected fatal errors"
_SILENT = re.compile(
  r"stopped sending heartbeats\):?((?:\s+(?:\S*task:)?\d+(?=\s))+)"
)
_COORDINATOR_LOST = "Failed to send RPC to coordination service"
GO_ON = (
  "this process ends as well; start the same command on all processes again and"
  " they go on from the last checkpoint"
)


def relay(process_index: int, process_count: int, seconds: int) -> None:
  """Sends what C++ writes through `translated` to standard error.

  What Python writes goes where it went before.

  Args:
    process_index, process_count: of this process.
    seconds: without a sign of life, after which a process counts as lost.
  """
  before = [os.dup(stream.fileno()) for stream in (sys.stdout, sys.stderr)]
  numbers = map(str, (process_index, process_count, seconds))
  command = [sys.executable, "-I", "-S", __file__, *numbers]
  # Its own group: Ctrl-C is not for it, it ends when nobody writes any more.
  child = subprocess.Popen(
    command, stdin=subprocess.PIPE, stderr=before[1], start_new_session=True
  )
  assert child.stdin is not None
  sys.stdout.flush()
  sys.stderr.flush()
  for descriptor in (1, 2):
    os.dup2(child.stdin.fileno(), descriptor)
  child.stdin.close()
  sys.stdout, sys.stderr = (
    os.fdopen(descriptor, "w", buffering=1, errors="backslashreplace")
    for descriptor in before
  )


def translated(
  lines: Iterable[str], process_index: int, process_count: int, seconds: int
) -> Iterator[str]:
  """The lines for the user; see the top of this file."""
  hidden = False
  lines = iter(lines)
  for line in lines:
    logged = _LOGGED.match(line)
    if logged and logged[1] == "F" and _FATAL in line:
      yield _last_words(line + "".join(lines), process_count, seconds)
      return
    if _GLOO.match(line):
      continue
    if logged:
      hidden = logged[1] != "F" and bool(_HIDDEN.search(logged[2]))
    if not hidden:
      yield line


def _last_words(text: str, process_count: int, seconds: int) -> str:
  """One line about a fatal error of the runtime."""
  silent = _SILENT.search(text)
  if silent:
    numbers = sorted(set(map(int, re.findall(r"\d+(?=\s|$)", silent[1]))))
    names = ", ".join(map(str, numbers))
    what = (
      f"process {names} of {process_count} gave no sign of life for"
      f" {seconds} seconds: it was killed, or its host is gone"
    )
  elif _COORDINATOR_LOST in text:
    what = (
      f"process 0 of {process_count}, which coordinates the others, is gone: it"
      " was killed, or its host or the network is down"
    )
  else:
    what = (
      "the processes have lost each other"
      f" ({text.partition('absl::Status: ')[2].splitlines()[0][:200]})"
    )
  return f"gtr train: {what}; {GO_ON}\n"


def main() -> None:
  process_index, process_count, seconds = map(int, sys.argv[1:4])
  source = io.TextIOWrapper(sys.stdin.buffer, errors="backslashreplace")
  for line in translated(source, process_index, process_count, seconds):
    sys.stderr.write(line)
    sys.stderr.flush()


if __name__ == "__main__":
  main()
