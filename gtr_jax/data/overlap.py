"""Which texts share words in a row: what keeps test texts out of training."""

from collections.abc import Collection, Iterable, Iterator

from gtr_jax.data import prose

# Also the fewest words of a document, so that a document inside a longer text
# is always seen.
RUN_WORDS = 8

Run = tuple[str, ...]


def runs(text: str) -> Iterator[Run]:
  """Every RUN_WORDS words in a row; a shorter text is one run."""
  words = prose.words(text)
  for start in range(max(len(words) - RUN_WORDS + 1, 1)):
    yield words[start : start + RUN_WORDS]


def all_runs(texts: Iterable[str]) -> set[Run]:
  return {run for text in texts for run in runs(text)}


def overlaps(text: str, known: Collection[Run]) -> bool:
  """Whether a text has a run in common with the texts `known` was made of.

  Two texts of less than RUN_WORDS words overlap if they are equal but for case
  and punctuation.
  """
  return any(run in known for run in runs(text))
