#!/usr/bin/env python3
"""Runs one command on all hosts of a TPU slice until it has ended.

  python launch/tpu_vm.py --name gtr --zone us-west4-a \\
    --accelerator_type v5litepod-16 --runtime_version v2-alpha-tpuv5-lite \\
    --spot --delete -- \\
    gtr train --gin_file=experiments/gtr_base_finetune.gin \\
    --gin.MODEL_DIR="'/mnt/bucket/model'"

Makes the slice, or takes the one of that name; installs one commit of this
repository on every worker; starts the command on all of them; shows what worker
0 prints.  A preempted slice is made again and a failed command is started
again, which for `gtr train` means that it goes on from its last checkpoint.
Ctrl-C leaves the command at work, and the same line follows it again.

--dry-run prints what would run, and runs nothing.

The exit status is 0 if the command ended with 0 on every worker, 2 if it ended
with 2 on any (a mistake, which starting again does not mend), else 1.
"""

import argparse
import dataclasses
import pathlib
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence

ROOT = pathlib.Path(__file__).resolve().parents[1]
READY, MISSING, GONE, WAITING = "ready", "missing", "gone", "waiting"
# States of a TPU VM and of a queued resource.
_STATES = {
  "READY": READY,
  "ACTIVE": READY,
  "PREEMPTED": GONE,
  "TERMINATED": GONE,
  "STOPPED": GONE,
  "STOPPING": GONE,
  "SUSPENDED": GONE,
  "SUSPENDING": GONE,
  "FAILED": GONE,
}
# Asked of a worker after its command has ended: 0 to 255, running, or lost.
_SAYS = re.compile(r"^gtr-status (\w+)$", re.M)
_LAST_SECONDS = 120
# (exit status, output) of a command.
Answer = tuple[int, str]
Run = Callable[[Sequence[str], bool], Answer]


# What gcloud says of a mistake; anything else may go well the next time.
_MISTAKE = re.compile(
  "PERMISSION_DENIED|UNAUTHENTICATED|INVALID_ARGUMENT|ERROR: .gcloud"
)


class Refused(Exception):
  """A gcloud command failed; what it said, in one line."""


class Mistaken(Refused):
  """Likewise, and it would fail again."""


@dataclasses.dataclass(frozen=True)
class Slice:
  """A TPU slice and the gcloud commands about it.

  Attributes:
    name: of the TPU VM, and of its queued resource if there is one.
    where: flags of every command: zone, project.
    make: flags of `create`.
    queued: whether it is asked for as a queued resource.
  """

  name: str
  where: Sequence[str]
  make: Sequence[str]
  queued: bool

  def _gcloud(self, noun: str, verb: str, *rest: str) -> list[str]:
    return ["gcloud", "--quiet", "compute", "tpus", noun, verb, *rest]

  @property
  def _noun(self) -> str:
    return "queued-resources" if self.queued else "tpu-vm"

  def create(self) -> list[str]:
    return self._gcloud(
      self._noun, "create", self.name, *self.where, *self.make
    )

  def describe(self) -> list[str]:
    state = "state.state" if self.queued else "state"
    return self._gcloud(
      self._noun, "describe", self.name, *self.where, f"--format=value({state})"
    )

  def delete(self) -> list[str]:
    force = ["--force"] if self.queued else []
    return self._gcloud(self._noun, "delete", self.name, *self.where, *force)

  def copy(self, file: str, target: str) -> list[str]:
    return self._gcloud(
      "tpu-vm",
      "scp",
      file,
      f"{self.name}:{target}",
      "--worker=all",
      *self.where,
    )

  def ssh(self, command: str, worker: str = "all") -> list[str]:
    return self._gcloud(
      "tpu-vm",
      "ssh",
      self.name,
      f"--worker={worker}",
      *self.where,
      f"--command={command}",
    )


@dataclasses.dataclass(frozen=True)
class Launcher:
  """What is run where, and how often.

  Attributes:
    tpu: the slice.
    run: runs a command; True shows its output as it comes.
    commit: full hash of the commit that is installed.
    command: what every worker runs, for its shell.
    setup: what every worker runs before each start, such as a mount.
    attempts: how often the slice is asked for and the command started.
    restarts: how many failures of the command on a slice that is well are
      followed by another start.
    poll_seconds: between two questions about the slice.
  """

  tpu: Slice
  run: Run
  commit: str
  command: str
  setup: str
  attempts: int
  restarts: int
  poll_seconds: float

  @property
  def folder(self) -> str:
    """On every worker, in the home folder."""
    return f"gtr_jax-{self.commit[:12]}"

  def launch(self) -> int:
    """The exit status of the command; see the top of this file."""
    failures = 0
    for attempt in range(1, self.attempts + 1):
      _say(f"attempt {attempt} of {self.attempts}")
      try:
        says = self._attempt()
      except Mistaken as error:
        _say(str(error))
        return 2
      except Refused as error:
        _say(str(error))
      else:
        _say(f"ended; the workers say {', '.join(says)}")
        if set(says) == {"0"}:
          return 0
        failures += 1
        if "2" in says or failures > self.restarts:
          return 2 if "2" in says else 1
      if attempt < self.attempts:
        time.sleep(self.poll_seconds)
    _say(f"given up after {self.attempts} attempts (--attempts)")
    return 1

  def _attempt(self) -> list[str]:
    """What the workers say after one start of the command."""
    self._have_slice()
    self._install()
    self._must(self.tpu.ssh(_start(self.folder, self.command)))
    return self._follow()

  def _have_slice(self) -> None:
    """Takes the slice of this name if it is well, else makes it."""
    state = self._state()
    if state == GONE:
      _say(f"{self.tpu.name} was preempted or stopped: making it again")
      self._must(self.tpu.delete())
      state = MISSING
    if state == MISSING:
      self._must(self.tpu.create())
      state = self._state()
    while state == WAITING:
      time.sleep(self.poll_seconds)
      state = self._state()
    if state != READY:
      raise Refused(f"{self.tpu.name} could not be had: it is {state}")

  def _state(self) -> str:
    status, output = self.run(self.tpu.describe(), False)
    if status:
      if "NOT_FOUND" in output or "not found" in output:
        return MISSING
      kind = Mistaken if _MISTAKE.search(output) else Refused
      raise kind(f"gcloud describe: {_last_line(output)}")
    return _STATES.get(output.strip().splitlines()[-1].strip(), WAITING)

  def _install(self) -> None:
    archive = f"{self.folder}.tar.gz"
    local = f"/tmp/{archive}"
    self._must(
      [
        "git",
        "-C",
        str(ROOT),
        "archive",
        f"--prefix={self.folder}/",
        f"--output={local}",
        self.commit,
      ]
    )
    self._must(self.tpu.copy(local, archive))
    self._must(self.tpu.ssh(_install(self.folder, self.setup)))

  def _follow(self) -> list[str]:
    """What all workers say once none runs any more.

    Raises:
      Refused: the slice is gone, or does not answer.
    """
    waited, lines = 0.0, "+1"
    while True:
      self.run(self.tpu.ssh(_TAIL.format(lines=lines), "0"), True)
      lines = "10"  # After a broken connection.
      if (state := self._state()) != READY:
        raise Refused(f"{self.tpu.name} is {state}: was it preempted?")
      status, output = self.run(self.tpu.ssh(_STATUS), False)
      says = _SAYS.findall(output)
      if says and "running" not in says:
        return says
      if status and not says:
        raise Refused(f"no worker answers: {_last_line(output)}")
      # Worker 0 has ended, or only the connection has.
      waited += self.poll_seconds
      if says[0] != "running" and waited > _LAST_SECONDS:
        _say("some workers do not end: killed")
        self._must(self.tpu.ssh(_KILL))
      time.sleep(self.poll_seconds)

  def _must(self, command: Sequence[str]) -> None:
    status, output = self.run(command, True)
    if status:
      kind = Mistaken if _MISTAKE.search(output) else Refused
      name = " ".join(command[:6])
      raise kind(f"{name}: exit status {status}: {_last_line(output)}")


# What the workers' shells run.
_TAIL = "tail -n {lines} --pid=$(cat gtr_run/pid) -F gtr_run/log"
_STATUS = (
  "exec 2> /dev/null; if kill -0 $(cat gtr_run/pid);"
  " then echo gtr-status running;"
  " else echo gtr-status $(cat gtr_run/status || echo lost); fi"
)
_KILL = "kill -9 -- -$(cat gtr_run/pid)"


def _install(folder: str, setup: str) -> str:
  """Sets up; unpacks and installs where that was not done before."""
  return " && ".join(
    [
      *([f"{{ {setup}; }}"] if setup else []),
      f"if [ -e {folder}/installed ]; then exit 0; fi",
      f"tar xzf {folder}.tar.gz && cd {folder}",
      # The images of TPU VMs come with an older Python.
      "{ command -v python3.11 > /dev/null || { sudo apt-get -qq update &&"
      " sudo apt-get -qq install -y python3.11 python3.11-venv; }; }",
      "python3.11 -m venv .venv",
      ".venv/bin/pip install -q -c constraints.txt '.[tpu]'",
      "touch installed",
    ]
  )


def _start(folder: str, command: str) -> str:
  """Starts a command that outlives its connection, unless it runs already."""
  run = (
    f"PATH=$HOME/{folder}/.venv/bin:$PATH; {command}; echo $? > gtr_run/status"
  )
  return (
    "mkdir -p gtr_run && touch gtr_run/pid &&"
    " if ! kill -0 $(cat gtr_run/pid) 2> /dev/null; then"
    " rm -f gtr_run/status;"
    f" setsid nohup bash -c {shlex.quote(run)} > gtr_run/log 2>&1 < /dev/null &"
    " echo $! > gtr_run/pid; fi"
  )


def run_command(command: Sequence[str], shown: bool) -> Answer:
  """Runs a command; its output is kept, and shown as it comes if asked."""
  process = subprocess.Popen(
    command,
    stdin=subprocess.DEVNULL,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )
  assert process.stdout is not None
  lines = []
  for line in process.stdout:
    lines = [*lines[-1000:], line]
    if shown:
      print(line, end="", flush=True)
  return process.wait(), "".join(lines)


def print_command(answers: Mapping[str, str]) -> Run:
  """Prints each command instead of running it, as all goes well.

  Args:
    answers: a part of a command → what it would print.
  """
  described: list[None] = []

  def run(command: Sequence[str], shown: bool) -> Answer:
    del shown
    print(shlex.join(command), flush=True)
    if "describe" in command and not described:
      described.append(None)
      return 1, "NOT_FOUND"
    return 0, next((a for c, a in answers.items() if c in command), "")

  return run


def main(argv: Sequence[str] | None = None) -> int:
  args = _parse(argv)
  try:
    launcher = _launcher(args)
  except Refused as error:
    _say(str(error))
    return 2
  try:
    status = launcher.launch()
  except FileNotFoundError as error:
    _say(f"{error.filename} is not installed on this machine")
    return 2
  except KeyboardInterrupt:
    _say("interrupted; the command goes on, and the same line follows it again")
    return 130
  if args.delete:
    launcher.run(launcher.tpu.delete(), True)
  return status


def _launcher(args: argparse.Namespace) -> Launcher:
  where = [f"--zone={args.zone}"]
  if args.project:
    where.append(f"--project={args.project}")
  make = [f"--accelerator-type={args.accelerator_type}"]
  if args.queued:
    make += [
      f"--node-id={args.name}",
      f"--runtime-version={args.runtime_version}",
    ]
    if args.valid_until_duration:
      make.append(f"--valid-until-duration={args.valid_until_duration}")
  else:
    make.append(f"--version={args.runtime_version}")
  if args.spot:
    make.append("--spot")
  tpu = Slice(args.name, where, make, args.queued)
  answers = {"describe": "READY", tpu.ssh(_STATUS)[-1]: "gtr-status 0"}
  return Launcher(
    tpu,
    print_command(answers) if args.dry_run else run_command,
    _commit(args.commit),
    shlex.join(args.command),
    args.setup,
    args.attempts,
    args.restarts,
    0 if args.dry_run else args.poll_seconds,
  )


def _commit(name: str) -> str:
  """The full hash; warns of changes that are in no commit."""
  git = ["git", "-C", str(ROOT)]
  status, found = run_command(
    [*git, "rev-parse", "--verify", f"{name}^{{commit}}"], False
  )
  if status:
    raise Refused(f"--commit {name}: {_last_line(found)}")
  _, changes = run_command([*git, "status", "--porcelain", "-uno"], False)
  if changes.strip():
    _say("the working tree has changes that are in no commit: not installed")
  return found.strip()


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  add = parser.add_argument
  add("--name", required=True, help="of the slice")
  add("--zone", required=True, help="such as us-west4-a")
  add("--project", help="of Google Cloud; else the one of gcloud's config")
  add("--accelerator_type", required=True, help="such as v5litepod-16")
  add("--runtime_version", required=True, help="such as v2-alpha-tpuv5-lite")
  add("--spot", action="store_true", help="cheaper, may be preempted")
  add("--queued", action="store_true", help="ask by a queued resource")
  add("--valid_until_duration", help="how long a queued request waits: 6h")
  add("--commit", default="HEAD", help="what is installed (%(default)s)")
  add(
    "--setup", default="", help="shell command on all workers before each start"
  )
  add("--attempts", type=int, default=100, help="starts in all (%(default)s)")
  add("--restarts", type=int, default=3, help="after failures (%(default)s)")
  add("--poll_seconds", type=float, default=30, help="default %(default)s")
  add("--delete", action="store_true", help="delete the slice at the end")
  add("--dry-run", action="store_true", help="print what would run")
  add("command", nargs="+", metavar="-- COMMAND")
  args = parser.parse_args(argv)
  if args.attempts < 1:
    parser.error(f"--attempts is {args.attempts}; at least 1 was due")
  return args


def _last_line(text: str) -> str:
  lines = text.strip().splitlines()
  return lines[-1].strip() if lines else "no output"


def _say(text: str) -> None:
  print(f"tpu_vm: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
  sys.exit(main())
