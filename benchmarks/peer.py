"""The other sides: processes that do a piece of work whenever they are asked.

They stay alive between their turns, as the process that asks does.
"""

import argparse
import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from benchmarks import runner

# Module of this package: what it needs; told apart from a failure of it.
LIBRARIES = {
  "pytorch": ("torch", "transformers"),
  "sentence_transformers": ("torch", "transformers", "sentence_transformers"),
  "t5x_retrieval": ("t5x", "t5x_retrieval", "flaxformer"),
}


def missing(module: str) -> list[str]:
  """Libraries that this other side lacks here."""
  return [
    name for name in LIBRARIES[module] if not importlib.util.find_spec(name)
  ]


class Peer:
  """`python -m benchmarks.<module>`, started with some flags.

  Attributes:
    name: what runs there, with versions.
  """

  def __init__(self, module: str, *flags: str):
    self._module = module
    self._process = subprocess.Popen(
      [sys.executable, "-m", f"benchmarks.{module}", *flags],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
    )
    self.name: str = self._answer()["name"]

  def case(self, work: str) -> Callable[[], runner.Sample]:
    """A case for `runner.alternate`: a name that its module knows."""

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
      self.close()
      raise RuntimeError(
        f"the process of {self._module} ended; its errors stand above"
      )
    return json.loads(line)


class Peers:
  """Those of some other sides whose libraries are here.

  Attributes:
    absent: the rest, each with the libraries that it lacks; told with every
      figure, so that nobody takes a short table for a whole one.
  """

  def __init__(self, modules: Iterable[str], *flags: str, alone: bool = False):
    self.absent = {name: missing(name) for name in modules if missing(name)}
    self._peers = [
      Peer(name, *flags)
      for name in modules
      if name not in self.absent and not alone
    ]

  def cases(self, work: str) -> dict[str, Callable[[], runner.Sample]]:
    """Of the same work, by what does it."""
    return {peer.name: peer.case(work) for peer in self._peers}

  def close(self) -> None:
    for peer in self._peers:
      peer.close()

  def show(
    self,
    figure: str,
    unit: str,
    work: float,
    times: Mapping[str, runner.Times],
    **details: Any,
  ) -> None:
    """A line for each that ran beside the first of `times`, at least one."""
    ours, *others = times
    for other in others or [None]:
      runner.show_rate(
        figure,
        unit,
        work,
        times[ours],
        other,
        times.get(other or ""),
        not_here=self.absent,
        **details,
      )


def flags() -> argparse.ArgumentParser:
  """What the other sides are started with."""
  parser = argparse.ArgumentParser()
  parser.add_argument("--size", default="small")
  parser.add_argument("--threads", type=int, default=2)
  parser.add_argument("--batch_size", type=int, default=None)
  parser.add_argument("--encode_rows", type=int, default=64)
  parser.add_argument("--texts", type=int, default=256)
  parser.add_argument("--vocabulary", default=None)
  return parser


def serve(name: str, cases: Mapping[str, Callable[[], Any]]) -> None:
  """Reads a kind of work a line, answers with seconds."""
  print(json.dumps({"name": name}), flush=True)
  for line in sys.stdin:
    sample = runner.timed(cases[line.strip()])()
    print(json.dumps({"wall": sample.wall, "cpu": sample.cpu}), flush=True)
