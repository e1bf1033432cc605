"""Workers end with the program that started them."""

import multiprocessing
import os
import signal
import subprocess
import sys

from gtr_jax.files import processes

_PROGRAM = """
import os
import sys

from gtr_jax.files import processes

if __name__ == "__main__":
  pool = processes.executor(1)
  print(pool.submit(os.getpid).result(), flush=True)
  sys.stdin.read()
"""


def test_workers_begin_as_they_are_told():
  with processes.executor(1, os.chdir, ("/",)) as pool:
    assert pool.submit(os.getcwd).result() == "/"


def test_workers_end_when_the_program_is_killed(tmp_path):
  program = tmp_path / "program.py"
  program.write_text(_PROGRAM)
  with subprocess.Popen(
    [sys.executable, program],
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
  ) as process:
    assert process.stdout
    assert int(process.stdout.readline()) != process.pid
    process.send_signal(signal.SIGKILL)
    # The worker has this pipe too: it is closed when both have ended.
    process.communicate(timeout=60)


def test_ctrl_c_is_left_to_the_program():
  with processes.executor(1) as pool:
    os.kill(pool.submit(os.getpid).result(), signal.SIGINT)
    assert pool.submit(len, "abc").result() == 3


def test_all_processes_start_at_once_and_hear_no_interrupt():
  with processes.executor(3) as pool:
    started = multiprocessing.active_children()
    assert len(started) == 3
    for child in started:
      assert child.pid
      os.kill(child.pid, signal.SIGINT)
    assert list(pool.map(len, ["abc", "de", "f"])) == [3, 2, 1]
