"""The way of every export: write, read back, compare, put in place."""

import importlib.metadata
import json
import pathlib
import platform
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from gtr_jax.export import check, placement
from gtr_jax.export import original as original_lib

# What the comparison found, beside what was compared.
PARITY_FILE = "parity.json"
# A step of the work that begins.
Report = Callable[[str], None]


class Format(Protocol):
  """A file format; `export.saved_model`, the module, is one."""

  @staticmethod
  def write(original: original_lib.Original, directory: pathlib.Path) -> None:
    """Fills an empty directory."""
    ...

  @staticmethod
  def load(directory: pathlib.Path) -> check.Export:
    """Reads the files back, as a user would."""
    ...

  @staticmethod
  def consumer() -> str | None:
    """The library that `load` reads by and its version.

    None where it is not installed; `load` then reads by our own code.
    """
    ...

  @staticmethod
  def details() -> Mapping[str, Any]:
    """What the description says of this format: JSON."""
    ...


def make(
  original: original_lib.Original,
  form: Format,
  output: pathlib.Path,
  overwrite: bool = False,
  report: Report = lambda step: None,
) -> check.Comparison:
  """Leaves a checked export at `output`, or nothing.

  Args:
    original: the model.
    form: the format.
    output: directory to make.
    overwrite: whether an earlier export there may be replaced.
    report: called at each of the four steps.

  Raises:
    ValueError: `output` is taken, or the export differs from the model.
  """
  with placement.new_directory(output, overwrite) as directory:
    report("writing")
    form.write(original, directory)
    report("reading back")
    export = form.load(directory)
    report("comparing")
    comparison = check.compare(original, export)
    report("putting in place")
    write_json(
      directory / placement.DESCRIPTION_FILE, _description(original, form)
    )
    write_json(directory / PARITY_FILE, _parity(form, comparison))
  return comparison


def write_json(path: pathlib.Path, content: Mapping[str, Any]) -> None:
  """Writes a file of UTF-8 that people read, too."""
  text = json.dumps(content, indent=2, ensure_ascii=False)
  path.write_text(text + "\n", encoding="utf-8")


def _parity(form: Format, comparison: check.Comparison) -> dict[str, Any]:
  consumer = form.consumer()
  return {
    "checked": consumer is not None,
    "checked_by": consumer
    or "not checked by its consumer, which is not installed; read back by"
    " gtr_jax",
    "num_texts": comparison.num_texts,
    "num_ties": comparison.num_ties,
    **comparison.near.as_json(),
  }


def _description(
  original: original_lib.Original, form: Format
) -> dict[str, Any]:
  return {
    "checkpoint_hash": original.checkpoint_hash,
    "step": original.step,
    "embedding_dim": original.embedding_dim,
    "vocab_size": original.model.query_encoder.vocab_size,
    "dtype": original.dtype,
    "activation_dtype": str(original.activation_dtype),
    "query_length": original.query_length,
    "passage_length": original.passage_length,
    "query_prompt": original.tokenizer.query_prompt,
    "passage_prompt": original.tokenizer.passage_prompt,
    **form.details(),
    "made_with": {
      "python": platform.python_version(),
      **{
        name: importlib.metadata.version(name)
        for name in ("gtr_jax", "jax", "flax", "sentencepiece")
      },
    },
  }
