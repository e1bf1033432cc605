"""Pairs on disk: shards by site, and what became of all that was read."""

import itertools
import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from gtr_jax.community import tally as tallies
from gtr_jax.community.tally import Tally
from gtr_jax.data import near_duplicates
from gtr_jax.data.pair import Pair
from gtr_jax.files import json_shards

_BATCH_PAIRS = 1024
_STRANGE = re.compile(r"^\.|[^\w.+-]+")  # A first dot would hide the file.


def write(
  folder: pathlib.Path,
  site: str,
  pairs: Iterable[Pair],
  num_shards: int,
  tally: Tally,
) -> None:
  """The pairs in turn to `SITE-00000-of-00004.jsonl.gz` and its neighbours."""
  with json_shards.opened(folder, file_name(site), num_shards) as streams:
    for stream, pair in zip(itertools.cycle(streams), pairs, strict=False):
      stream.write(json_shards.line(record(pair)))
      tallies.count_pair(tally, pair.query, pair.positives)


def file_name(site: str) -> str:
  """What files of a site are called."""
  return _STRANGE.sub("_", site)


def record(pair: Pair) -> dict[str, Any]:
  """A pair as `data.pair` reads it."""
  fields: dict[str, Any] = {
    "query_id": pair.query_id,
    "query": pair.query,
    "positive_ids": pair.positive_ids,
    "positives": pair.positives,
    "negatives": pair.negatives,
  }
  return {name: value for name, value in fields.items() if value}


def distinct(
  pairs: Iterable[Pair], threshold: float, tally: Tally
) -> Iterator[Pair]:
  """The pairs that nearly equal no earlier one.

  Query and first answer are compared as one text.
  """
  finder = near_duplicates.Finder(threshold)
  for batch in _batches(pairs):
    numbers = finder.add([compared(pair) for pair in batch])
    for pair, number in zip(batch, numbers, strict=True):
      if number < 0:
        yield pair
        continue
      count_near_duplicate(tally, pair)


def count_near_duplicate(tally: Tally, pair: Pair) -> None:
  tally["questions.left_out.near_duplicate"] += 1
  tally["answers.left_out.near_duplicate"] += len(pair.positives)


def compared(pair: Pair) -> str:
  """What two pairs have in common if they are near-duplicates."""
  return f"{pair.query}\n{pair.positives[0]}"


def statistics(sites: Mapping[str, Tally]) -> dict[str, Any]:
  """What became of all that was read."""
  total: Tally = Tally()
  for tally in sites.values():
    total.update(tally)
  return {
    "total": tallies.nested(total),
    "sites": {name: tallies.nested(tally) for name, tally in sites.items()},
  }


def table(sites: Mapping[str, Tally]) -> Iterator[str]:
  """Lines for people."""
  for name, tally in sites.items():
    yield f"{name}: {tally['pairs.out']} pairs"
    for kind in ("records", "questions", "answers"):
      came, prefix = tally[f"{kind}.in"], f"{kind}.left_out."
      if not came:
        continue
      yield f"  {kind:10}{came:>12} in"
      reasons = {
        key.removeprefix(prefix): count
        for key, count in tally.items()
        if key.startswith(prefix)
      }
      for reason, count in sorted(reasons.items(), key=lambda r: (-r[1], r[0])):
        yield f"  {'':10}{count:>12} left out: {reason}"


def _batches(pairs: Iterable[Pair]) -> Iterator[list[Pair]]:
  batch: list[Pair] = []
  for pair in pairs:
    batch.append(pair)
    if len(batch) == _BATCH_PAIRS:
      yield batch
      batch = []
  yield batch
