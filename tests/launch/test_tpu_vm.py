"""`launch/tpu_vm.py` with a gcloud that records its calls and plays a slice."""

import json
import pathlib
import shlex
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
# Answers by call: what the slice is, what the workers say, what is refused.
STUB = """#!{python}
import json, pathlib, sys
folder = pathlib.Path(__file__).parent
with (folder / "calls").open("a") as calls:
  calls.write(json.dumps(sys.argv[1:]) + "\\n")
line = " ".join(sys.argv[1:])
play = json.loads((folder / "play").read_text())
for place, (part, answers) in enumerate(play):
  if part in line:
    status, output = answers[0]
    if len(answers) > 1:
      del play[place][1][0]
      (folder / "play").write_text(json.dumps(play))
    print(output)
    sys.exit(status)
"""
MISSING = [1, "ERROR: (gcloud.x) NOT_FOUND: resource"]
READY = [0, "READY"]
COMMAND = ["gtr", "train", "--gin.MODEL_DIR='/mnt/a b'"]


@pytest.fixture
def launch(tmp_path):
  def launched(play, *flags):
    """(exit status, output, calls of gcloud)"""
    (tmp_path / "gcloud").write_text(STUB.format(python=sys.executable))
    (tmp_path / "gcloud").chmod(0o755)
    (tmp_path / "play").write_text(json.dumps(play))
    (tmp_path / "calls").write_text("")
    result = subprocess.run(
      [
        sys.executable,
        "launch/tpu_vm.py",
        "--name=pod",
        "--zone=z",
        "--accelerator_type=v5litepod-16",
        "--runtime_version=v2-alpha-tpuv5-lite",
        "--poll_seconds=0",
        *flags,
        "--",
        *COMMAND,
      ],
      cwd=ROOT,
      env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
      capture_output=True,
      text=True,
    )
    lines = (tmp_path / "calls").read_text().splitlines()
    calls = [json.loads(line) for line in lines]
    assert all(call[:3] == ["--quiet", "compute", "tpus"] for call in calls)
    said = result.stdout + result.stderr
    return result.returncode, said, [call[3:] for call in calls]

  return launched


def kinds(calls):
  """The calls in short: a verb, or what is asked of which worker."""
  names = {
    "tar xzf": "install",
    "setsid": "start",
    "tail": "follow",
    "gtr-status": "ask",
    "kill -9": "kill",
  }
  found = []
  for _, verb, *rest in calls:
    if verb == "ssh":
      command = next(r for r in rest if r.startswith("--command="))
      verb = next(name for part, name in names.items() if part in command)
      assert ("--worker=0" in rest) == (verb == "follow")
    found.append(verb)
  return found


ALL_WELL = ["scp", "ssh install", "start", "follow", "describe", "ask"]
ALL_WELL[1] = "install"


def says(*numbers):
  return [0, "\n".join(f"gtr-status {number}" for number in numbers)]


def test_makes_a_slice_runs_and_deletes_it(launch):
  play = [["describe", [MISSING, READY]], ["gtr-status", [says(0, 0)]]]
  status, said, calls = launch(play, "--spot", "--project=p", "--delete")
  assert status == 0, said
  assert kinds(calls) == [
    "describe",
    "create",
    "describe",
    *ALL_WELL,
    "delete",
  ]
  assert calls[1] == [
    "tpu-vm",
    "create",
    "pod",
    "--zone=z",
    "--project=p",
    "--accelerator-type=v5litepod-16",
    "--version=v2-alpha-tpuv5-lite",
    "--spot",
  ]
  assert all({"--zone=z", "--project=p"} <= set(call) for call in calls)
  (copied,) = [call for call in calls if call[1] == "scp"]
  head = subprocess.check_output(
    ["git", "rev-parse", "HEAD"], cwd=ROOT, text=True
  )
  assert copied[3] == f"pod:gtr_jax-{head[:12]}.tar.gz"
  assert "--worker=all" in copied


def test_a_queued_slice_is_waited_for(launch):
  states = [MISSING, [0, "WAITING_FOR_RESOURCES"], [0, "PROVISIONING"]]
  play = [
    ["describe", [*states, [0, "ACTIVE"]]],
    ["gtr-status", [says(0, 0)]],
  ]
  flags = ["--queued", "--valid_until_duration=6h", "--delete"]
  status, said, calls = launch(play, *flags)
  assert status == 0, said
  assert kinds(calls)[:5] == ["describe", "create"] + ["describe"] * 3
  assert calls[1] == [
    "queued-resources",
    "create",
    "pod",
    "--zone=z",
    "--accelerator-type=v5litepod-16",
    "--node-id=pod",
    "--runtime-version=v2-alpha-tpuv5-lite",
    "--valid-until-duration=6h",
  ]
  assert "--format=value(state.state)" in calls[0]
  assert calls[-1] == [
    "queued-resources",
    "delete",
    "pod",
    "--zone=z",
    "--force",
  ]


def test_a_slice_that_is_there_is_taken_and_kept(launch):
  play = [["describe", [READY]], ["gtr-status", [says(0)]]]
  status, said, calls = launch(play)
  assert status == 0, said
  assert kinds(calls) == ["describe", *ALL_WELL]


def test_preempted_it_is_made_again_and_the_command_started_again(launch):
  preempted = [0, "PREEMPTED"]
  play = [
    ["describe", [MISSING, READY, preempted, preempted, READY]],
    ["tail", [[255, "connection closed"], [0, ""]]],
    ["gtr-status", [says(0, 0)]],
  ]
  status, said, calls = launch(play, "--spot")
  assert status == 0, said
  assert "was it preempted?" in said
  assert kinds(calls) == [
    *["describe", "create", "describe", "scp", "install", "start", "follow"],
    "describe",
    *["describe", "delete", "create", "describe"],
    *ALL_WELL,
  ]


def test_a_failed_worker_starts_the_command_again_on_all(launch):
  play = [
    ["describe", [READY]],
    ["gtr-status", [says(1, "lost", 1), says(0, 0, 0)]],
  ]
  status, said, calls = launch(play)
  assert status == 0, said
  assert "the workers say 1, lost, 1" in said
  assert kinds(calls) == ["describe", *ALL_WELL, "describe", *ALL_WELL]
  assert not any(call[1] in ("create", "delete") for call in calls)


def test_a_command_that_fails_every_time_is_given_up(launch):
  play = [["describe", [READY]], ["gtr-status", [says(1)]]]
  status, said, calls = launch(play, "--restarts=2")
  assert status == 1, said
  assert kinds(calls).count("start") == 3


def test_a_mistake_is_not_started_again(launch):
  play = [["describe", [READY]], ["gtr-status", [says(2, 1)]]]
  status, _, calls = launch(play, "--delete")
  assert status == 2
  assert kinds(calls) == ["describe", *ALL_WELL, "delete"]


def test_no_room_is_asked_for_again_and_no_right_is_not(launch):
  full = [1, "ERROR: RESOURCE_EXHAUSTED: There is no more capacity in z"]
  play = [
    ["describe", [MISSING, MISSING, READY]],
    ["create", [full, [0, ""]]],
    ["gtr-status", [says(0)]],
  ]
  status, said, calls = launch(play)
  assert status == 0, said
  assert "There is no more capacity in z" in said
  assert kinds(calls).count("create") == 2
  denied = [1, "ERROR: PERMISSION_DENIED: tpu.nodes.create on project p"]
  status, said, calls = launch([["describe", [MISSING]], ["create", [denied]]])
  assert status == 2 and "tpu.nodes.create on project p" in said
  assert kinds(calls) == ["describe", "create"]


def test_a_broken_connection_follows_again_and_a_hanging_worker_is_killed(
  launch,
):
  play = [
    ["describe", [READY]],
    ["gtr-status", [says("running", "running"), says(1, 1)]],
  ]
  status, _, calls = launch(play, "--restarts=0")
  assert status == 1
  assert kinds(calls).count("follow") == 2 and kinds(calls).count("start") == 1


def test_dry_run_prints_the_calls_that_would_be_made(launch):
  play = [["describe", [MISSING, READY]], ["gtr-status", [says(0)]]]
  flags = ["--spot", "--delete", "--setup=mount /mnt/a"]
  _, _, calls = launch(play, *flags)
  status, said, none = launch(play, *flags, "--dry-run")
  assert status == 0 and not none
  printed = [
    shlex.split(line)[4:]
    for line in said.splitlines()
    if line.startswith("gcloud ")
  ]
  assert printed == calls
  assert any("mount /mnt/a" in word for call in calls for word in call)


def test_the_workers_shell_runs_the_command_as_it_was_given(launch, tmp_path):
  play = [["describe", [READY]], ["gtr-status", [says(0)]]]
  _, _, calls = launch(play)
  (start,) = [
    call
    for call, kind in zip(calls, kinds(calls), strict=True)
    if kind == "start"
  ]
  (command,) = [r for r in start if r.startswith("--command=")]
  home = tmp_path / "home"
  home.mkdir()
  (tmp_path / "gtr").write_text('#!/bin/sh\necho "$2" "$#"; exit 7\n')
  (tmp_path / "gtr").chmod(0o755)
  environment = {"HOME": str(home), "PATH": f"{tmp_path}:/usr/bin:/bin"}
  shell = ["bash", "-c", command.removeprefix("--command=") + "; wait"]
  subprocess.run(shell, cwd=home, env=environment, check=True)
  assert (
    home / "gtr_run" / "log"
  ).read_text() == "--gin.MODEL_DIR='/mnt/a b' 2\n"
  (ask,) = [
    call
    for call, kind in zip(calls, kinds(calls), strict=True)
    if kind == "ask"
  ]
  (command,) = [r for r in ask if r.startswith("--command=")]
  shell = ["bash", "-c", command.removeprefix("--command=")]
  answer = subprocess.check_output(shell, cwd=home, env=environment, text=True)
  assert answer == "gtr-status 7\n"
