"""`gtr doctor` with all that it looks for, on pairs as long as MS MARCO's.

Their words are made up, or those of a file of pairs (`--words`), in their
order; 1 query in 20 and 1 passage in 10 come again.
"""

import functools
import json
import pathlib
import resource
import tempfile
from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks import dumps, runner, texts
from gtr_jax.data import sources
from gtr_jax.doctor import (
  examination,
  finding,
  findings,
  overlap,
  page,
  report,
)

# Words of MS MARCO's queries and passages: means, and spreads of logarithms.
_LENGTHS = {"query": (6, 0.4), "positive": (56, 0.45)}
_AGAIN = {"query": 0.05, "positive": 0.1}
_EVALUATION_PASSAGES = 10_000


def main(arguments: Sequence[str] | None = None) -> None:
  flags = runner.parser(__doc__, "small")
  flags.add_argument("--vocabulary", metavar="FILE")
  flags.add_argument("--words", metavar="FILE", help="pairs, JSONL")
  flags.add_argument("--pairs", type=int, default=1_000_000)
  flags.set_defaults(repeats=1)
  options = flags.parse_args(arguments)
  words = _words(options.words)
  tokens = texts.tokenizer(options.vocabulary)
  settings = examination.Settings({"query": 64, "passage": 256}, 2048)
  with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    path = folder / "pairs.jsonl"
    with path.open("w") as stream:
      stream.writelines(_lines(words, options.pairs, seed=0))
    evaluation = overlap.EvaluationTexts(
      "made", "corpus", functools.partial(_passages, words)
    )

    def examine() -> None:
      read = lambda: sources.read_placed([path])
      examined = examination.examine(read(), tokens, settings, [evaluation])
      found = findings.find(examined, finding.BadLines())
      shown = report.numbers_to_show(examined, found, 10)
      places = report.look_up(read(), shown)
      made = report.Report(str(path), {}, examined, found, places, 10)
      page.write(folder / "page.html", made)

    case = runner.timed(examine)
    times = runner.Times([case() for _ in range(options.repeats)])
  used = [
    resource.getrusage(who).ru_maxrss / 1024
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
  ]
  runner.show_rate(
    "doctor",
    "pairs/s",
    options.pairs,
    times,
    pairs=options.pairs,
    peak_mib=used[0],
    peak_mib_of_a_worker=used[1],
    not_looked_for=sorted(
      set(finding.NAMES) - set(findings.looked_for(True, True))
    ),
  )


def _words(path: str | None) -> np.ndarray:
  """Words in the order of texts."""
  if path is None:
    return np.array(dumps.Writer().words(200_000, 200_000).split(), object)
  found: list[str] = []
  for pair in sources.read_pairs([path]):
    found += pair.positives[0].split()
  return np.array(found, object)


def _lines(words: np.ndarray, count: int, seed: int) -> Iterator[str]:
  """Stretches of the words, as JSONL of pairs."""
  rng = np.random.default_rng(seed)
  columns = [
    _stretches(words, count, rng, *_LENGTHS[name], _AGAIN[name])
    for name in _LENGTHS
  ]
  for texts_of_pair in zip(*columns, strict=True):
    record = dict(zip(_LENGTHS, texts_of_pair, strict=True))
    yield json.dumps(record, ensure_ascii=False) + "\n"


def _stretches(
  words: np.ndarray,
  count: int,
  rng: np.random.Generator,
  mean: float,
  spread: float,
  again: float,
) -> Iterator[str]:
  location = np.log(mean) - spread**2 / 2
  sizes = np.maximum(rng.lognormal(location, spread, count).astype(int), 2)
  starts = rng.integers(0, len(words) - sizes.max(), count)
  repeated = np.flatnonzero(rng.random(count) < again)
  earlier = rng.integers(0, count, len(repeated))
  sizes[repeated], starts[repeated] = sizes[earlier], starts[earlier]
  for start, size in zip(starts.tolist(), sizes.tolist(), strict=True):
    yield " ".join(words[start : start + size])


def _passages(words: np.ndarray) -> Iterator[tuple[str, str]]:
  """An evaluation corpus of the same words."""
  for number, line in enumerate(_lines(words, _EVALUATION_PASSAGES, seed=1)):
    yield str(number), json.loads(line)["positive"]


if __name__ == "__main__":
  main()
