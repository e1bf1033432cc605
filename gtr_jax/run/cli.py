"""What all programs share: arguments, the JSON line, errors, exit status."""

import argparse
import contextlib
import errno
import io
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

from gtr_jax.files import lines

# gin appends pages about who called whom to every message.
_GIN_CONTEXT = "\n  In call to configurable"
# What the disk refuses, often without the name of a file.
_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)
Run = Callable[[argparse.Namespace], Mapping[str, Any]]


class _Terminated(SystemExit):
  """SIGTERM came."""


class _Parser(argparse.ArgumentParser):
  """argparse, but a usage mistake is one line, as every other mistake."""

  def error(self, message: str):
    self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def quiet_libraries() -> None:
  """No start-up noise from TensorFlow, XLA or absl, unless the user set it."""
  os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
  os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
  os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
  os.environ.setdefault("ABSL_MIN_LOG_LEVEL", "2")
  from absl import logging

  logging.set_verbosity(logging.ERROR)


def run_program(
  name: str,
  description: str,
  add_arguments: Callable[[argparse.ArgumentParser], None],
  run: Run,
  argv: Sequence[str] | None = None,
) -> int:
  """Parses `argv`, runs the program, and returns its exit status.

  Returns:
    0 on success; 2 on the user's mistake (a ValueError, or an OSError that
    names a file or tells of a full disk), told in one line on standard error;
    1 on any other failure; 130 and 143 after SIGINT and SIGTERM.
  """
  args = _parser(name, description, add_arguments).parse_args(argv)
  quiet_libraries()
  if isinstance(sys.stdout, io.TextIOWrapper):
    # Names of files may hold what no encoding has; JSON reads such escapes.
    sys.stdout.reconfigure(errors="backslashreplace")
  try:
    with _terminable():
      result = run(args)
  except _Terminated:
    print(f"gtr {name}: terminated; the same command goes on", file=sys.stderr)
    return 143  # 128 and SIGTERM, as shells say it.
  except KeyboardInterrupt:
    print(f"gtr {name}: interrupted; the same command goes on", file=sys.stderr)
    return 130
  except BrokenPipeError:
    return reader_left()
  except Exception as error:
    if args.debug:
      traceback.print_exc()
    else:
      print(f"gtr {name}: {one_line(error)}", file=sys.stderr)
    return 2 if is_users(error) else 1
  if args.json:
    print(json.dumps(dict(result), ensure_ascii=False), flush=True)
  return 0


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
  """SIGTERM is an exception, so that temporary files are removed.

  A second one ends the program at once.
  """

  def end(number: int, frame: object) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    raise _Terminated(128 + number)

  is_ours = (
    threading.current_thread() is threading.main_thread()
    and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
  )
  if is_ours:
    signal.signal(signal.SIGTERM, end)
  try:
    yield
  finally:
    if is_ours:
      signal.signal(signal.SIGTERM, signal.SIG_DFL)


def reader_left() -> int:
  """The exit status of a program whose output nobody reads, as `| head` does.

  Standard output is pointed nowhere, so that its last flush does not complain.
  """
  os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
  return 141  # 128 and SIGPIPE, as shells say it.


def call(
  name: str,
  add_arguments: Callable[[argparse.ArgumentParser], None],
  run: Run,
  argv: Sequence[str],
) -> Mapping[str, Any]:
  """Runs a program inside another one: its result, or its exception."""
  parser = _parser(name, "", add_arguments)
  return run(parser.parse_args(split_gin_bindings(argv)))


def split_gin_bindings(argv: Sequence[str]) -> list[str]:
  """Rewrites T5X's `--gin.NAME=VALUE` to a flag that argparse can take."""
  prefix = "--gin."
  return [
    f"--gin_bindings={argument.removeprefix(prefix)}"
    if argument.startswith(prefix)
    else argument
    for argument in argv
  ]


def _parser(
  name: str,
  description: str,
  add_arguments: Callable[[argparse.ArgumentParser], None],
) -> argparse.ArgumentParser:
  parser = _Parser(
    prog=f"gtr {name}",
    description=description,
    formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    allow_abbrev=False,
  )
  add_arguments(parser)
  parser.add_argument(
    "--json",
    action="store_true",
    help="end standard output with one JSON object",
  )
  parser.add_argument(
    "--debug", action="store_true", help="show the traceback of an error"
  )
  return parser


def is_users(error: Exception) -> bool:
  return isinstance(error, ValueError) or (
    isinstance(error, OSError)
    and (error.filename is not None or error.errno in _OF_THE_DISK)
  )


def one_line(error: Exception) -> str:
  if isinstance(error, OSError) and error.filename is not None:
    return lines.shortened(f"{error.filename}: {error.strerror}")
  if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
    return f"{error.strerror}; make room, then the same command goes on"
  text = str(error).partition(_GIN_CONTEXT)[0]
  text = lines.shortened(text) or type(error).__name__
  if is_users(error) or isinstance(error, FloatingPointError):
    return text
  return f"internal error, {type(error).__name__}: {text} (--debug shows where)"
