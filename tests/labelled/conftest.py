"""Reading small files with every format."""

import pathlib
from dataclasses import dataclass, field

import pytest

from gtr_jax.data import negative_rules
from gtr_jax.files import lines
from gtr_jax.labelled import formats, question, settings
from gtr_jax.labelled.ledger import Ledger


@dataclass
class Result:
  """What came out of a reading."""

  pairs: list[question.LabelledPair]
  ledger: Ledger
  notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Reader:
  """Reads with text stores in a folder of the test."""

  cache: pathlib.Path

  def __call__(
    self,
    format,
    *inputs,
    on_bad_line: lines.OnBadLine = "error",
    num_negatives=8,
    max_score=None,
    margin=None,
    relative_margin=None,
    sample=None,
    **given,
  ) -> Result:
    rules = negative_rules.Rules(
      num_negatives, max_score, margin, relative_margin, sample
    )
    notes = []
    ledger = Ledger(on_bad_line, notes.append)
    chosen = settings.Settings(self.cache, rules=rules, **given)
    pairs = list(formats.read(format, inputs, chosen, ledger))
    return Result(pairs, ledger, notes)


@pytest.fixture
def read(tmp_path) -> Reader:
  return Reader(tmp_path / "cache")


@pytest.fixture
def write(tmp_path):
  """Writes files of a folder: their contents by their names."""

  def write_files(folder="data", **contents):
    root = tmp_path / folder
    root.mkdir(exist_ok=True)
    for name, content in contents.items():
      path = root / name.replace("__", ".")
      data = content if isinstance(content, bytes) else content.encode()
      path.write_bytes(data)
    return root

  return write_files
