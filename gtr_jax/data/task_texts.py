"""The pairs of a task as texts with their places, to be looked at."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from gtr_jax.data import sources, task_names, tokenization, vocabulary
from gtr_jax.data.pair import Pair
from gtr_jax.files import lines
from gtr_jax.types import TowerName

# Tokens of a text, where none shall be cut.
_WHOLE_TEXTS: dict[TowerName, int] = {"query": 2**20, "passage": 2**20}


@dataclass(frozen=True)
class PlacedPairs:
  """The pairs of a task as text.

  Attributes:
    tokenizer: the task's own; None where the task has none.
    read: reads them anew: file (or name of the task), line (or number of the
      example) from 1, pair.
  """

  tokenizer: vocabulary.Tokenizer | None
  read: Callable[[], Iterator[sources.Placed]]


def placed_pairs(
  task: str,
  on_bad_line: lines.OnBadLine = "error",
  report: lines.Report | None = None,
  refused: sources.Refused = sources.unheard,
  names: task_names.Names = task_names.NONE,
) -> PlacedPairs:
  """The pairs of anything that `task_names` knows, to be looked at.

  A SeqIO task gives token ids; its vocabulary makes texts of them again.

  Args:
    report, refused: as `sources.read_placed` takes them.
    names: as `task_names.open_task` takes it.

  Raises:
    ValueError: no such task, or bad data.
  """
  lines.check_mode(on_bad_line)
  say = report or lines.to_standard_error
  source = task_names.open_task(task, on_bad_line, names)
  if source is not None:
    return PlacedPairs(None, lambda: source.placed(say, refused))
  from gtr_jax.data import tasks_reader

  own = tasks_reader.tokenizer_of(task)
  chunks = lambda: tasks_reader.token_chunks(
    task, _WHOLE_TEXTS, on_bad_line=on_bad_line, report=say
  )
  return PlacedPairs(
    own, lambda: sources.numbered(task, _decoded(chunks(), own))
  )


def _decoded(
  chunks: Iterable[tokenization.TokenChunk], tokenizer: vocabulary.Tokenizer
) -> Iterator[Pair]:
  for example in (example for chunk in chunks for example in chunk.examples):
    query, *passages = map(tokenizer.decode, example.texts)
    query_id, *ids = example.ids
    count = example.num_positives
    yield Pair(
      query,
      tuple(passages[:count]),
      tuple(passages[count:]),
      query_id,
      _all_or_none(ids[:count]),
      _all_or_none(ids[count:]),
    )


def _all_or_none(ids: list[str | None]) -> tuple[str, ...] | None:
  known = tuple(identifier for identifier in ids if identifier is not None)
  return known if known and len(known) == len(ids) else None
