"""`gtr PROGRAM …`: finds the program and gives it the rest of the line."""

import difflib
import importlib
import sys
from collections.abc import Sequence

import gtr_jax
from gtr_jax.run import cli

# Program: its module under gtr_jax.run, what it does.
PROGRAMS = {
  "demo": ("demo", "the main job on the embedded data, in minutes"),
  "community": ("community", "dumps of questions and answers to pairs"),
  "train": ("train", "train one stage from gin files; resumes by itself"),
  "encode": ("encode", "texts to an embedding store"),
  "search": ("search", "exact search in an embedding store"),
  "evaluate": ("evaluate", "nDCG, recall and MRR on a BEIR folder"),
  "doctor": ("doctor", "looks at training data before it costs money"),
  "mine": ("mine", "hard negatives for the next stage"),
  "import": ("import_", "another library's weights to a model directory"),
  "pairs": ("pairs", "labelled data, such as MS MARCO, to pairs"),
  "plan": ("plan", "memory and time of a training on TPUs, before renting"),
  "export": ("export", "a model to SavedModel, checked before it is kept"),
}


def main(argv: Sequence[str] | None = None) -> int:
  """Runs a program and returns its exit status."""
  arguments = list(sys.argv[1:] if argv is None else argv)
  if not arguments or arguments[0] in ("-h", "--help", "help"):
    try:
      print(_help(), flush=True)
    except BrokenPipeError:
      return cli.reader_left()
    return 0
  name, *rest = arguments
  if name in ("-V", "--version", "version"):
    print(f"gtr_jax {gtr_jax.__version__}")
    return 0
  if name not in PROGRAMS:
    near = difflib.get_close_matches(name, PROGRAMS, 1)
    hint = f"did you mean {near[0]}?" if near else f"known: {_names()}"
    print(f"gtr: there is no program {name}; {hint}", file=sys.stderr)
    return 2
  module = importlib.import_module(f"gtr_jax.run.{PROGRAMS[name][0]}")
  return module.main(rest)


def _help() -> str:
  lines = [f"  {name:10}{does}" for name, (_, does) in PROGRAMS.items()]
  return "\n".join(
    [
      "gtr PROGRAM …: train, evaluate, export and search GTR dual encoders.",
      "",
      *lines,
      "",
      "gtr PROGRAM --help tells its flags.  Start with: gtr demo",
    ]
  )


def _names() -> str:
  return ", ".join(PROGRAMS)


if __name__ == "__main__":
  sys.exit(main())
