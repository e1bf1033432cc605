"""`gtr demo`: the main job, end to end, on data that every machine has.

It calls the same programs that a user would, and prints each command.
"""

import argparse
import importlib
import json
import pathlib
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from gtr_jax.files import whole
from gtr_jax.run import cli

MEASURES = ("ndcg@10", "recall@100", "mrr@10")
ROWS = ("bm25", "untrained", "stage1", "stage2")
IN_DOMAIN, OUT_OF_DOMAIN = "python_docs_test", "python_docs_out_of_domain"
LENGTHS = ["--query_length", "64", "--passage_length", "256"]
EXAMPLE_QUERY = "wait for a thread to finish"
NUM_NEGATIVES = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    "--output_dir",
    default="gtr_demo",
    metavar="D",
    help="where everything goes; a demo that was stopped goes on there",
  )
  parser.add_argument(
    "--seed", type=int, default=0, help="of the parameters and the batches"
  )


def run(args: argparse.Namespace) -> Mapping[str, Any]:
  """Two stages of training, baselines, evaluation, export, a search."""
  start = time.monotonic()
  root = pathlib.Path(args.output_dir)
  _say("The embedded data: docstrings of this Python and of its packages.")
  _write_collections(root)
  results = {"bm25": _evaluate(root, ["--bm25"])}

  train = _Train(root, args.seed)
  train("untrained", "demo_stage1", TRAIN_STEPS="0", WARMUP_STEPS="0")
  results["untrained"] = _evaluate(root, ["--model", str(root / "untrained")])

  _say("Stage 1: wide and noisy pairs, as the paper's community QA.")
  train(
    "stage1",
    "demo_stage1",
    INITIAL_CHECKPOINT_PATH=_quoted(root / "untrained"),
  )
  results["stage1"] = _evaluate(root, ["--model", str(root / "stage1")])

  _say("Stage 2: clean pairs with hard negatives, as the paper's MS MARCO.")
  mined = root / "mined.jsonl"
  _call(
    "mine",
    *("--model", str(root / "stage1"), "--bm25"),
    *("--data", str(root / "train"), "--split", "train"),
    *("--num_negatives", str(NUM_NEGATIVES), "--depth", "30"),
    *("--margin", "0.02", "--output", str(mined), *LENGTHS),
  )
  train(
    "stage2",
    "demo_stage2",
    MIXTURE_OR_TASK_NAME=_quoted(mined),
    INITIAL_CHECKPOINT_PATH=_quoted(root / "stage1"),
  )
  model = str(root / "stage2")
  results["stage2"] = _evaluate(root, ["--model", model])

  _say("Export, and a search.")
  exported = _call(
    "export",
    *("--model", model, "--format", "savedmodel"),
    *("--output", str(root / "savedmodel"), "--overwrite", *LENGTHS),
  )
  store = str(root / "store")
  corpus = str(root / "train" / "corpus.jsonl")
  _call(
    "encode",
    *("--model", model, "--input", corpus, "--output", store),
    *("--passage_length", "128"),
  )
  found = _call(
    "search",
    *("--model", model, "--store", store, "--query", EXAMPLE_QUERY),
    *("--depth", "3"),
  )

  picture = _plot(root)
  result = {
    "model": model,
    "seconds": round(time.monotonic() - start, 1),
    "results": {row: results[row][IN_DOMAIN] for row in ROWS},
    "out_of_domain": {row: results[row][OUT_OF_DOMAIN] for row in ROWS},
    "exported": exported["path"],
    "max_difference": exported["max_difference"],
    "picture": str(picture),
    "example": {"query": EXAMPLE_QUERY, "hits": found["hits"]},
  }
  text = json.dumps(result, indent=2, ensure_ascii=False) + "\n"
  whole.write(root / "demo.json", text.encode())
  print(_table(result))
  print(_what_next(result))
  return result


class _Train:
  """`gtr train` with the arguments that the stages share."""

  def __init__(self, root: pathlib.Path, seed: int):
    self._root = root
    self._seed = seed

  def __call__(self, name: str, experiment: str, **macros: str) -> None:
    macros = {
      "MODEL_DIR": _quoted(self._root / name),
      "SEED": str(self._seed),
      **macros,
    }
    result = _call(
      "train",
      f"--gin_file=experiments/{experiment}.gin",
      *(f"--gin.{macro}={value}" for macro, value in macros.items()),
    )
    if result["stopped_by_signal"]:
      raise KeyboardInterrupt


def _call(program: str, *arguments: str) -> Mapping[str, Any]:
  """Runs a program in this process, as its command line would."""
  print(f"\n$ gtr {program} {_shell_line(arguments)}", flush=True)
  module = importlib.import_module(f"gtr_jax.run.{program}")
  return cli.call(program, module.add_arguments, module.run, arguments)


def _shell_line(arguments: Sequence[str]) -> str:
  """The arguments as a person types them: strings of gin in double quotes."""
  words = []
  for argument in arguments:
    flag, equals, value = argument.partition("=")
    if equals and value.startswith("'"):
      words.append(f'{flag}="{value}"')
    else:
      words.append(shlex.quote(argument))
  return " ".join(words)


def _evaluate(
  root: pathlib.Path, what: Sequence[str]
) -> dict[str, dict[str, float]]:
  """Measures in domain and out of domain."""
  result = _call(
    "evaluate", *what, "--data", str(root / "collections"), *LENGTHS
  )
  return {
    name: {measure: values[measure] for measure in MEASURES}
    for name, values in result["datasets"].items()
  }


def _write_collections(root: pathlib.Path) -> None:
  from gtr_jax.data import python_docs

  python_docs.write_collection(root / "train", "train")
  for name in (IN_DOMAIN, OUT_OF_DOMAIN):
    folder = root / "collections" / name
    split = "test" if name == IN_DOMAIN else "out_of_domain"
    counts = python_docs.write_collection(folder, split)
    passages, queries = counts["documents"], counts["queries"]
    print(f"{folder}: {passages:,} passages, {queries:,} queries")


def _plot(root: pathlib.Path) -> pathlib.Path:
  """Loss and evaluation of both stages, as a picture."""
  from gtr_jax.run import curves

  path = root / "curves.png"
  curves.draw([root / "stage1", root / "stage2"], path)
  return path


def _table(result: Mapping[str, Any]) -> str:
  lines = [
    "",
    f"{'':12}{'in domain':^32}{'out of domain (zero-shot)':^32}",
    f"{'':12}" + "".join(f"{measure:>10} " for measure in MEASURES * 2),
  ]
  for row in ROWS:
    cells = [
      f"{result[part][row][measure]:>10.4f} "
      for part in ("results", "out_of_domain")
      for measure in MEASURES
    ]
    lines.append(f"{row:12}" + "".join(cells))
  return "\n".join(lines)


def _what_next(result: Mapping[str, Any]) -> str:
  best = max(ROWS, key=lambda row: result["results"][row]["ndcg@10"])
  honest = (
    "\nBM25 is ahead: a few thousand pairs and a few minutes do not make a"
    " dense\nretriever; GTR's own first stage saw 2 billion pairs."
    if best == "bm25"
    else ""
  )
  model = result["model"]
  store = shlex.quote(str(pathlib.Path(model).parent / "store"))
  model = shlex.quote(model)
  return f"""{honest}
{result["seconds"]:.0f} seconds.  Curves: {result["picture"]}
The SavedModel in {result["exported"]} takes raw strings; it differs from the
model by {result["max_difference"]:.1e} at most.

Try next:
  gtr search --model {model} --store {store} --query "…"
  gtr evaluate --model {model} --data BEIR_FOLDER
  gtr train --gin_file=experiments/demo_stage1.gin --gin.MODEL_DIR="'mine'" \\
    --gin.MIXTURE_OR_TASK_NAME="'pairs.jsonl'" --gin.EVAL_DATA=None"""


def _quoted(path: pathlib.Path) -> str:
  return repr(str(path))


def _say(text: str) -> None:
  print(f"\n== {text}", flush=True)


def main(argv: Sequence[str] | None = None) -> int:
  return cli.run_program(
    "demo",
    "Trains both stages of a tiny GTR on the embedded data, evaluates it beside"
    " BM25, exports it and searches with it; minutes on two cores.",
    add_arguments,
    run,
    argv,
  )


if __name__ == "__main__":
  sys.exit(main())
