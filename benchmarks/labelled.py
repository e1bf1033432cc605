"""Text stores, and MS MARCO's files to pairs, on files that are made up.

As long as MS MARCO's: passages of 56 words, queries of 6, a judgement for one
passage in ten, lists of 50 hard negatives of 3 searches for one in fifty.
"""

import contextlib
import io
import json
import pathlib
import random
import resource
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks import dumps, runner
from gtr_jax.labelled import ledger, msmarco, settings, stores
from gtr_jax.labelled.text_store import TextStore
from gtr_jax.run import pairs

_BATCH = 512


def main(arguments: Sequence[str] | None = None) -> None:
  flags = runner.parser(__doc__, "small")
  flags.add_argument("--passages", type=int, default=1_000_000)
  options = flags.parse_args(arguments)
  count = options.passages
  with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    _make(folder, count)
    _show("text store: build", count, "entries", lambda: _store(folder, "a"))
    store, ids = _store(folder, "a"), _random_ids(count)
    _show("text store: look up", count, "ids", lambda: _look_up(store, ids))
    _store(folder, "cache")
    lists = folder / "lists" / "hard-negatives.jsonl"
    for figure, inputs, number in (
      ("MS MARCO to pairs: judgements", [folder], count // 10),
      ("MS MARCO to pairs: 1 hard negative", [folder, lists], count // 50),
      ("MS MARCO to pairs: 8 hard negatives", [folder, lists], count // 50),
    ):
      num_negatives = int(figure.split()[-3]) if "hard" in figure else 0
      _show(
        figure,
        number,
        "queries",
        lambda inputs=inputs, n=num_negatives: _pairs(folder, inputs, n),
      )


def _make(folder: pathlib.Path, count: int) -> None:
  writer, numbers = dumps.Writer(), random.Random(0)
  queries = range(max(count // 10, 1))
  with (folder / "collection.tsv").open("w") as stream:
    for number in range(count):
      stream.write(f"{number}\t{writer.words(56, 56)}\n")
  with (folder / "queries.train.tsv").open("w") as stream:
    stream.writelines(f"{n}\t{writer.words(6, 6)}\n" for n in queries)
  with (folder / "qrels.train.tsv").open("w") as stream:
    stream.writelines(
      f"{n}\t0\t{numbers.randrange(count)}\t1\n" for n in queries
    )
  (folder / "lists").mkdir()
  with (folder / "lists" / "hard-negatives.jsonl").open("w") as stream:
    for query in range(max(count // 50, 1)):
      found = {
        search: [numbers.randrange(count) for _ in range(50)]
        for search in ("a", "b", "c")
      }
      record = {"qid": query, "pos": [numbers.randrange(count)], "neg": found}
      stream.write(json.dumps(record) + "\n")


def _store(folder: pathlib.Path, cache: str) -> TextStore:
  return stores.of_files(
    [folder / "collection.tsv"],
    msmarco.read_collection,
    {"reader": "collection"},
    settings.Settings(folder / cache),
    ledger.Ledger(),
  )


def _random_ids(count: int) -> list[str]:
  return [str(random.Random(n).randrange(count)) for n in range(count)]


def _look_up(store: TextStore, ids: Sequence[str]) -> None:
  for start in range(0, len(ids), _BATCH):
    store.find(ids[start : start + _BATCH])


def _pairs(
  folder: pathlib.Path, inputs: Sequence[pathlib.Path], num_negatives: int
) -> None:
  flags = [
    "--format=msmarco",
    "--input",
    *map(str, inputs),
    f"--output={folder / 'pairs'}",
    f"--cache={folder / 'cache'}",
    f"--num_negatives={num_negatives}",
  ]
  with contextlib.redirect_stdout(io.StringIO()):
    if status := pairs.main(flags):
      sys.exit(status)


def _show(
  figure: str, count: int, what: str, function: Callable[[], Any]
) -> None:
  with _memory() as peak:
    sample = runner.timed(function)()
  runner.show(
    figure,
    count / sample.wall,
    f"{what}/s",
    per_cpu_second=round(count / sample.cpu),
    count=count,
    own_mib=peak(),
    mapped_too_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
  )


@contextlib.contextmanager
def _memory():
  """The most memory of this process that is not a mapped file, in MiB."""
  done, seen = threading.Event(), [_own_mib()]

  def watch() -> None:
    while not done.wait(0.02):
      seen.append(_own_mib())

  thread = threading.Thread(target=watch)
  thread.start()
  try:
    yield lambda: round(max(seen))
  finally:
    done.set()
    thread.join()


def _own_mib() -> float:
  for line in pathlib.Path("/proc/self/status").read_text().splitlines():
    if line.startswith("RssAnon:"):
      return int(line.split()[1]) / 1024
  return 0.0


if __name__ == "__main__":
  main()
