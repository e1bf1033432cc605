"""What a model card tells beside what the model itself shows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Facts:
  """Where a checkpoint comes from and how good it was.

  Attributes:
    name: of the model, a word or two.
    results: lines of `results.jsonl` that are about this checkpoint.
    num_others: lines there that are about others, and were left out.
    training: settings of the run that made it, by the name of their macro.
  """

  name: str = "model"
  results: tuple[Mapping[str, Any], ...] = ()
  num_others: int = 0
  training: Mapping[str, Any] = field(default_factory=dict)
