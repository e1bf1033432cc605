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
# Several threads write it at once, a word at a time.
_GLOO = re.compile(
  r".*(\[Gloo\] Rank|connected (to|peer) |peer ranks)|[\d\s]+$"
)
_FATAL = "JAX distributed service detected fatal errors"
_SILENT = re.compile(
  r"stopped sending heartbeats\):?((?:\s+(?:\S*task:)?\d+(?=\s))+)"
)
_NOT_JOINED = "CoordinationService/RegisterTask"
_COORDINATOR_LOST = "Failed to send RPC to coordination service"
ENDS = "this process ends as well"
GO_ON = (
  f"{ENDS}; start the same command on all processes again and they go on from"
  " the last checkpoint"
)


def relay(process_count: int | None, seconds: int) -> None:
  """Sends what C++ writes through `translated` to standard error.

  What Python writes goes where it went before.

  Args:
    process_count: how many processes there are, if that is known yet.
    seconds: without a sign of life, after which a process counts as lost.
  """
  before = [os.dup(stream.fileno()) for stream in (sys.stdout, sys.stderr)]
  numbers = str(process_count or ""), str(seconds)
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
  lines: Iterable[str], process_count: str, seconds: str
) -> Iterator[str]:
  """The lines for the user; see the top of this file."""
  hidden = False
  lines = iter(lines)
  for line in lines:
    logged = _LOGGED.match(line)
    if logged and logged[1] == "F" and _FATAL in line:
      text = line + "".join(lines)
      yield f"gtr train: {_cause(text, process_count, seconds)}; {GO_ON}\n"
      return
    if _GLOO.match(line):
      continue
    if logged:
      hidden = logged[1] != "F" and bool(_HIDDEN.search(logged[2]))
    if not hidden:
      yield line


def _cause(text: str, process_count: str, seconds: str) -> str:
  """What a fatal error of the runtime says, in words of ours."""
  of_all = f" of {process_count}" if process_count else ""
  silent = _SILENT.search(text)
  if silent:
    numbers = sorted(set(map(int, re.findall(r"\d+(?=\s|$)", silent[1]))))
    return (
      f"process {', '.join(map(str, numbers))}{of_all} gave no sign of life for"
      f" {seconds} seconds: it was killed, or its host is gone"
    )
  if _NOT_JOINED in text:
    return (
      "the processes did not find each other in time: not all were started, or"
      " --coordinator_address is not that of process 0"
    )
  if _COORDINATOR_LOST in text:
    return (
      f"process 0{of_all}, which coordinates the others, is gone: it was"
      " killed, or its host or the network is down"
    )
  status = text.partition("absl::Status: ")[2] or text
  return f"the processes lost each other ({status.splitlines()[0][:200]})"


def main() -> None:
  source = io.TextIOWrapper(sys.stdin.buffer, errors="backslashreplace")
  for line in translated(source, *sys.argv[1:]):
    sys.stderr.write(line)
    sys.stderr.flush()


if __name__ == "__main__":
  main()
