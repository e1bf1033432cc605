"""The other side: a process that does one piece of work whenever it is asked.

It stays alive between its turns, as the process that asks does.
"""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable

from benchmarks import runner

# What the other side needs; told apart from a failure of it.
LIBRARIES = ("torch", "transformers")


def installed() -> bool:
  return all(importlib.util.find_spec(name) for name in LIBRARIES)


class Peer:
  """`python -m benchmarks.pytorch`, started with some flags.

  Attributes:
    name: what runs there, with versions.
  """

  def __init__(self, *flags: str):
    self._process = subprocess.Popen(
      [sys.executable, "-m", "benchmarks.pytorch", *flags],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
    )
    self.name: str = self._answer()["name"]

  def case(self, work: str) -> Callable[[], runner.Sample]:
    """A case for `runner.alternate`: "step" or "encode"."""

    def ask() -> runner.Sample:
      assert self._process.stdin is not None
      self._process.stdin.write(work + "\n")
      self._process.stdin.flush()
      return runner.Sample(**self._answer())

    return ask

  def close(self) -> None:
    self._process.communicate()

  def _answer(self) -> dict:
    assert self._process.stdout is not None
    line = self._process.stdout.readline()
    if not line:
      raise RuntimeError("the PyTorch process ended; its errors stand above")
    return json.loads(line)
