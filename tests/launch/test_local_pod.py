"""`launch/local_pod.py` with small commands in place of a training."""

import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[2]


def pod(code, *flags, processes=3):
  result = subprocess.run(
    [
      sys.executable,
      "launch/local_pod.py",
      f"--processes={processes}",
      *flags,
      "--",
      sys.executable,
      "-c",
      "import os, signal, sys, time\n"
      "index = int(sys.argv[3].split('=')[1])\n" + code,
    ],
    cwd=ROOT,
    capture_output=True,
    text=True,
  )
  return result.returncode, result.stdout.splitlines(), result.stderr


def test_every_process_gets_its_flags_and_devices():
  status, lines, _ = pod(
    "print(os.environ['JAX_NUM_CPU_DEVICES'], *sys.argv[1:])",
    "--devices_per_process=2",
  )
  assert status == 0
  words = [line.split() for line in sorted(lines)]
  assert [w[:2] for w in words] == [[f"[{i}]", "2"] for i in range(3)]
  assert len({w[2] for w in words}) == 1
  assert words[0][2].startswith("--coordinator_address=127.0.0.1:")
  assert [w[3:] for w in words] == [
    ["--process_count=3", f"--process_index={i}"] for i in range(3)
  ]


def test_the_first_failure_is_the_status_and_ends_all():
  code = "sys.exit(5) if index == 1 else time.sleep(600)"
  status, _, said = pod(code, "--grace_seconds=0.2")
  assert status == 5
  assert "process 1 failed with status 5" in said
  assert "processes 0, 2 did not end: killed" in said


def test_a_signal_is_a_status_as_in_a_shell():
  status, _, _ = pod("os.kill(os.getpid(), signal.SIGKILL)", processes=1)
  assert status == 137


def test_signals_reach_all_processes(tmp_path):
  code = (
    "import pathlib\n"
    "signal.signal(signal.SIGTERM, lambda *_: (print('told'), sys.exit(0)))\n"
    f"folder = pathlib.Path({str(tmp_path)!r})\n"
    "(folder / str(index)).touch()\n"
    "while index == 2 and len(list(folder.iterdir())) < 3: pass\n"
    "if index == 2: os.kill(os.getppid(), signal.SIGTERM)\n"
    "time.sleep(600)"
  )
  status, lines, _ = pod(code)
  assert status == 0
  assert sorted(lines) == ["[0] told", "[1] told", "[2] told"]
