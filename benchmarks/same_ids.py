"""Token ids of exported folders beside the tokenizer's own, on varied texts.

python -m benchmarks.same_ids FOLDER … --texts F.jsonl.gz --count 10000
"""

import argparse
import importlib
import json
import pathlib
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks import varied_texts
from gtr_jax.data import vocabulary
from gtr_jax.export import original as original_lib
from gtr_jax.export import same_tokens
from gtr_jax.run import export
from gtr_jax.types import TowerName

_BATCH = 500


def main() -> int:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("folders", nargs="+", type=pathlib.Path)
  parser.add_argument("--texts", action="append", default=[], type=pathlib.Path)
  parser.add_argument("--count", type=int, default=10_000)
  parser.add_argument("--seed", type=int, default=0)
  args = parser.parse_args()
  texts = varied_texts.texts(args.count, args.texts, args.seed)
  for folder in args.folders:
    print(json.dumps(_compare(folder, texts), ensure_ascii=False), flush=True)
  return 0


def _compare(folder: pathlib.Path, texts: list[str]) -> dict[str, Any]:
  """Counts of texts, of ties (see `check.Comparison`) and of other ids."""
  description = json.loads((folder / "gtr_export.json").read_text())
  name = description["format"]
  module = importlib.import_module(f"gtr_jax.export.{export.FORMATS[name]}")
  exported = module.load(folder)
  (model,) = folder.rglob("spiece.model")
  tokenizer = vocabulary.Tokenizer(
    model.read_bytes(),
    description["query_prompt"],
    description["passage_prompt"],
  )
  ties, others = 0, []
  for tower in original_lib.TOWERS:
    length = description[f"{tower}_length"]
    for start in range(0, len(texts), _BATCH):
      batch = texts[start : start + _BATCH]
      for text, kind in _differing(exported, tokenizer, batch, length, tower):
        ties += kind == "tie"
        others += [text] if kind == "other" else []
  return {
    "format": name,
    "consumer": module.consumer(),
    "texts": len(texts),
    "readings": 2 * len(texts),
    "ties": ties,
    "other_ids": len(others),
    "examples": [text[:60] for text in others[:5]],
  }


def _differing(
  exported: Any,
  tokenizer: vocabulary.Tokenizer,
  texts: list[str],
  length: int,
  tower: TowerName,
) -> Iterator[tuple[str, str]]:
  """Texts with other ids, and whether these are the same pieces in order."""
  rows, _ = tokenizer.encode(texts, length, tower)
  came = exported.token_ids(texts, tower)
  for text, due, row in zip(texts, rows, came, strict=True):
    actual = row[row > 0]
    if np.array_equal(due, actual):
      continue
    is_tie = same_tokens.is_tie(tokenizer.decode, due, actual, length)
    yield text, "tie" if is_tie else "other"


if __name__ == "__main__":
  sys.exit(main())
