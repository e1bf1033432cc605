"""The formats by name, and pairs of any of them."""

import importlib
import pathlib
from collections.abc import Iterator, Sequence

from gtr_jax.labelled.ledger import Ledger
from gtr_jax.labelled.question import LabelledPair
from gtr_jax.labelled.settings import Settings

# Format: the module that reads it, imported when it is asked for.
FORMATS = {
  "msmarco": "msmarco",
  "rocketqa": "rocketqa",
  "beir": "beir",
  "tevatron": "tevatron",
  "sentence-transformers": "sentence_transformers",
  "nq": "dpr",
  "ir_datasets": "ir_catalogue",
  "tfds": "tfds_catalogue",
}


def read(
  format: str,
  inputs: Sequence[str | pathlib.Path],
  settings: Settings,
  ledger: Ledger | None = None,
) -> Iterator[LabelledPair]:
  """The pairs of files or data sets, streaming.

  Args:
    inputs: folders and files; of ir_datasets and tfds the name.
    ledger: counts what is read and left out; None makes one that refuses bad
      data.

  Raises:
    ValueError: no such format, files that do not belong together, bad data.
  """
  if format not in FORMATS:
    raise ValueError(
      f"there is no format {format!r}: known are {', '.join(FORMATS)}"
    )
  from gtr_jax.labelled import selection

  ledger = ledger or Ledger()
  module = importlib.import_module(f"gtr_jax.labelled.{FORMATS[format]}")
  questions = module.questions(inputs, settings, ledger)
  yield from selection.pairs(questions, settings, ledger)
  ledger.close()
