"""towers.json: which model, prompt and length each tower has.

For who reads an export by other means than gtr_jax: all that turns a text into
the input of a program, beside the vocabulary.
"""

import json
import pathlib
from dataclasses import asdict, dataclass

from gtr_jax.export import original as original_lib
from gtr_jax.types import TowerName

TOWERS_FILE = "towers.json"


@dataclass(frozen=True)
class Tower:
  """How a tower reads texts.

  Attributes:
    model: the name of its files without what is behind the dot.
    prompt: put before every text.
    length: tokens of a text at most, prompt and EOS included.
  """

  model: str
  prompt: str
  length: int


def of(original: original_lib.Original) -> dict[TowerName, Tower]:
  """Both towers; a shared one has one model for both."""
  return {
    tower: Tower(
      "model" if original.is_shared else f"{tower}_model",
      original.prompt(tower),
      original.length(tower),
    )
    for tower in original_lib.TOWERS
  }


def write(original: original_lib.Original, directory: pathlib.Path) -> None:
  content = {name: asdict(tower) for name, tower in of(original).items()}
  text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
  (directory / TOWERS_FILE).write_text(text, encoding="utf-8")


def read(directory: pathlib.Path) -> dict[TowerName, Tower]:
  """What `write` wrote.

  Raises:
    ValueError: there is no such file, or another one.
  """
  path = directory / TOWERS_FILE
  try:
    content = json.loads(path.read_text(encoding="utf-8"))
    return {name: Tower(**content[name]) for name in original_lib.TOWERS}
  except FileNotFoundError:
    raise ValueError(
      f"{path}: no such file: give a folder that gtr export made"
    ) from None
  except (ValueError, KeyError, TypeError) as error:
    raise ValueError(
      f"{path}: not the towers of an export ({error}); export again"
    ) from None
