"""Parsing a Stack Exchange dump, and the whole way to pairs.

Without `--dump` one is made up (see `dumps.py`).
"""

import contextlib
import io
import pathlib
import sys
import tempfile
import time
from collections.abc import Sequence

from benchmarks import dumps, runner
from gtr_jax.community import stack_exchange
from gtr_jax.run import community


def main(arguments: Sequence[str] | None = None) -> None:
  flags = runner.parser(__doc__, "small")
  flags.add_argument("--dump", type=pathlib.Path)
  flags.add_argument("--megabytes", type=float, default=240)
  flags.add_argument("--workers", type=int, default=1)
  options = flags.parse_args(arguments)
  with tempfile.TemporaryDirectory() as folder:
    path = options.dump or _made_up(pathlib.Path(folder), options.megabytes)
    megabytes = path.stat().st_size / 1e6
    output = pathlib.Path(folder) / "pairs"
    cases = {
      "parse": lambda: _parse(path),
      "to pairs": lambda: _to_pairs(path, output, options.workers),
    }
    for name, case in cases.items():
      start = time.perf_counter()
      case()
      seconds = time.perf_counter() - start
      runner.show(
        f"Stack Exchange: {name}",
        megabytes / seconds,
        "MB/s",
        megabytes=megabytes,
        workers=1 if name == "parse" else options.workers,
      )


def _made_up(folder: pathlib.Path, megabytes: float) -> pathlib.Path:
  path = folder / "made.example.com" / "Posts.xml"
  path.parent.mkdir()
  rows = dumps.until(dumps.rows(), int(megabytes * 1e6))
  with path.open("w", encoding="utf-8", newline="") as stream:
    stream.writelines(dumps.posts_xml(rows))
  return path


def _parse(path: pathlib.Path) -> None:
  for block in stack_exchange.read(path):
    for _ in stack_exchange.parse(block):
      pass


def _to_pairs(path: pathlib.Path, output: pathlib.Path, workers: int) -> None:
  flags = ["--format=stackexchange", f"--input={path}", f"--output={output}"]
  with contextlib.redirect_stdout(io.StringIO()):
    status = community.main([*flags, f"--workers={workers}"])
  if status:
    sys.exit(status)


if __name__ == "__main__":
  main()
