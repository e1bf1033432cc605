"""`gtr`: finds programs, helps quickly, tells mistakes in one line."""

import json
import shlex
import signal
import subprocess
import sys

import pytest

from gtr_jax.run import cli, main


def test_help_lists_every_program(capsys):
  assert main.main([]) == 0
  shown = capsys.readouterr().out
  assert all(name in shown for name in main.PROGRAMS)


def test_an_unknown_program_gets_the_nearest(capsys):
  assert main.main(["evalute"]) == 2
  assert "did you mean evaluate?" in capsys.readouterr().err


@pytest.mark.parametrize("name", list(main.PROGRAMS))
def test_every_program_helps_without_jax_or_tensorflow(name):
  module = f"gtr_jax.run.{main.PROGRAMS[name][0]}"
  code = (
    "import sys\n"
    f"import {module} as program\n"
    "try: program.main(['--help'])\n"
    "except SystemExit as end: assert end.code == 0\n"
    "heavy = {'jax', 'numpy', 'tensorflow', 'gin', 'flax'} & set(sys.modules)\n"
    "sys.exit(str(heavy) if heavy else 0)"
  )
  done = subprocess.run(
    [sys.executable, "-c", code], capture_output=True, text=True
  )
  assert done.returncode == 0, done.stderr
  assert f"usage: gtr {name}" in done.stdout and not done.stderr


def program(error=None):
  def run(args):
    if error:
      raise error
    return {"number": args.number}

  def add_arguments(parser):
    parser.add_argument("--number", type=int, default=1)

  return lambda *argv: cli.run_program("test", "", add_arguments, run, argv)


def test_json_is_the_last_line(capsys):
  assert program()("--number=3", "--json") == 0
  assert json.loads(capsys.readouterr().out.splitlines()[-1]) == {"number": 3}


@pytest.mark.parametrize(
  ("error", "status", "said"),
  [
    (ValueError("two\nlines"), 2, "gtr test: two lines\n"),
    (
      FileNotFoundError(2, "No such file", "x.jsonl"),
      2,
      "gtr test: x.jsonl: No such file\n",
    ),
    (
      RuntimeError("broken"),
      1,
      "gtr test: internal error, RuntimeError: broken (--debug shows where)\n",
    ),
    (
      OSError(28, "No space left on device"),
      2,
      "gtr test: No space left on device; make room, then the same command goes"
      " on\n",
    ),
    (FloatingPointError("step 3: NaN"), 1, "gtr test: step 3: NaN\n"),
    (
      ValueError("mine\n  In call to configurable 'x' (<function>)"),
      2,
      "gtr test: mine\n",
    ),
  ],
  ids=str,
)
def test_errors_are_one_line(capsys, error, status, said):
  assert program(error)() == status
  assert capsys.readouterr().err == said


def test_what_a_file_holds_neither_floods_nor_steers_a_terminal(capsys):
  error = ValueError(f"the id {'x' * 5000}\x1b[2J\r: repair it")
  assert program(error)() == 2
  said = capsys.readouterr().err
  assert said.startswith("gtr test: the id xxx") and len(said) < 1100
  assert said.endswith("xxx\\x1b[2J : repair it\n")


def test_names_that_are_not_utf_8_are_shown(tmp_path):
  code = (
    "from gtr_jax.run import cli\n"
    "run = lambda args: print('\\udcff') or {'name': '\\udcff'}\n"
    "cli.run_program('test', '', lambda parser: None, run, ['--json'])"
  )
  done = subprocess.run([sys.executable, "-c", code], capture_output=True)
  assert done.stdout.splitlines()[0] == b"\\udcff" and not done.stderr
  assert json.loads(done.stdout.splitlines()[1]) == {"name": "\udcff"}


def test_sigterm_unwinds_the_program(capsys):
  cleaned = []

  def run(args):
    try:
      signal.raise_signal(signal.SIGTERM)
    finally:
      cleaned.append(True)
    return {}

  before = signal.getsignal(signal.SIGTERM)
  assert cli.run_program("test", "", lambda parser: None, run, []) == 143
  assert cleaned and signal.getsignal(signal.SIGTERM) == before
  assert capsys.readouterr().err.count("\n") == 1


def test_debug_shows_where(capsys):
  assert program(RuntimeError("broken"))("--debug") == 1
  assert "Traceback" in capsys.readouterr().err


def test_a_wrong_flag_is_one_line(capsys):
  with pytest.raises(SystemExit) as caught:
    program()("--nmber=3")
  assert caught.value.code == 2
  assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("words", [["--help"], ["evaluate", "--help"]], ids=str)
def test_a_reader_that_leaves_gets_no_traceback(words):
  program = [sys.executable, "-m", "gtr_jax.run.main", *words]
  line = f"{shlex.join(program)} | true"
  done = subprocess.run(line, shell=True, capture_output=True, text=True)
  assert not done.stderr
