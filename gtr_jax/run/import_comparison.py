"""What `gtr import` asks the library that wrote the weights."""

import pathlib

from gtr_jax.checkpoints import hub
from gtr_jax.export import artifact, import_check
from gtr_jax.run import model_directory


def compare(
  form: str,
  checkpoint: str,
  directory: pathlib.Path,
  max_length: int | None = None,
) -> import_check.Comparison | None:
  """Compares a new model directory with its source; leaves parity.json in it.

  Args:
    form: the checkpoint's format.
    checkpoint: a folder, or a name on the Hub.
    directory: the model directory made of it.
    max_length: tokens of a text that the checkpoint says are read.

  Returns:
    None where no library that reads the format is installed.

  Raises:
    ValueError: the library gives other embeddings.
  """
  if import_check.library_of(form) is None:
    return None
  loaded = model_directory.load(directory)
  comparison = import_check.compare(
    form,
    hub.folder_of(checkpoint),
    loaded.model,
    loaded.params,
    loaded.tokenizer,
    max_length,
  )
  artifact.write_json(directory / artifact.PARITY_FILE, comparison.as_json())
  return comparison


def summary(form: str, comparison: import_check.Comparison | None) -> str:
  """A line on it, and on texts that a tokenizer reads otherwise."""
  if comparison is None:
    return f"not compared: no library that reads {form} is installed"
  line = (
    f"compared with {comparison.library} on {comparison.num_texts} texts:"
    f" embeddings differ by {comparison.near.max_difference:.1e} at most"
  )
  if comparison.other_ids:
    shown = ", ".join(f"{text!r:.40}" for text in comparison.other_ids[:3])
    line += (
      f"; its tokenizer reads {len(comparison.other_ids)} of them otherwise"
      f" than SentencePiece: {shown}"
    )
  return line
