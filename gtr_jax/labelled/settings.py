"""What is the same for all formats of labelled data."""

import os
import pathlib
from dataclasses import dataclass, field
from typing import Literal

from gtr_jax.data import negative_rules
from gtr_jax.labelled import question

Titles = Literal["join", "drop", "require"]


def default_cache() -> pathlib.Path:
  """Where text stores are kept unless somebody says otherwise."""
  home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
  return pathlib.Path(home).expanduser() / "gtr_jax"


@dataclass(frozen=True)
class Settings:
  """What is read, and how.

  Attributes:
    cache: holds the text stores.
    split: train, dev ...
    titles: "join" puts a title before its text, "drop" leaves titles out,
      "require" joins and takes no passage without one.
    rules: which candidates become negatives; its seed draws them at random.
    fraction: share of the queries, by a hash of their ids.
    seed: of that hash.
    systems: whose negatives are taken, where they are told apart; none: all.
    fields: of a record, where the user names them: query, positive ...
  """

  cache: pathlib.Path
  split: str = "train"
  titles: Titles = "join"
  rules: negative_rules.Rules = field(default_factory=negative_rules.Rules)
  fraction: float = 1.0
  seed: int = 0
  systems: tuple[str, ...] = ()
  fields: dict[str, str] = field(default_factory=dict)

  def keeps(self, key: str) -> bool:
    """Whether a query is in the fraction, by its id or else its text."""
    return self.fraction >= 1 or question.share(key, self.seed) < self.fraction
