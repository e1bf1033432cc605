"""All benchmarks, one process each: `python -m benchmarks [--size=tiny]`."""

import subprocess
import sys

NAMES = (
  "full_rows",
  "packed",
  "chunks",
  "ring",
  "encode",
  "pipeline",
  "community",
  "labelled",
  "tokenise",
  "doctor",
  "checkpoint",
  "startup",
)


def main() -> int:
  failed = [
    name
    for name in NAMES
    if subprocess.run(
      [sys.executable, "-m", f"benchmarks.{name}", *sys.argv[1:]]
    ).returncode
  ]
  if failed:
    print(f"failed: {', '.join(failed)}", file=sys.stderr)
  return bool(failed)


if __name__ == "__main__":
  sys.exit(main())
