"""How several tasks become one mixture: their rates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gtr_jax.data import task_names

# A task, several by their sizes, or several with their rates.
Tasks = str | Sequence[str] | Mapping[str, float]
Prompts = tuple[str, str]


@dataclass(frozen=True)
class Mixing:
  """How several tasks become batches.

  Attributes:
    homogeneous: whether every batch is of one task.
    temperature: T of rates by size: a task of n pairs gets n^(1/T).  1 is by
      size, more evens the tasks out.
    maximum: a task with more pairs counts as one of so many; None: no limit.
    prompts: of tasks that have others than the rest, query and passage.

  Source: Raffel et al., 2020 (https://arxiv.org/abs/1910.10683), section 3.5.2.
  """

  homogeneous: bool = False
  temperature: float = 1.0
  maximum: int | None = None
  prompts: Mapping[str, Prompts] = field(default_factory=dict)


def tasks_with_rates(
  tasks: Tasks, names: task_names.Names
) -> Mapping[str, float | None]:
  """The tasks that are asked for, each with its rate; None is by size."""
  if not isinstance(tasks, str):
    if not tasks:
      raise ValueError("no task is named: give one, or a mixture of several")
    if isinstance(tasks, Mapping):
      return tasks
    if len(set(tasks)) < len(tasks):
      raise ValueError(
        f"a task is named twice among {', '.join(tasks)}: name each once, or"
        " give rates"
      )
    return dict.fromkeys(tasks)
  return task_names.rates(tasks, names)


def rate_of(rate: float | None, size: int, mixing: Mixing) -> float:
  """The rate of a task of so many pairs: the one given, or by its size."""
  if rate is not None:
    if isinstance(rate, bool) or not isinstance(rate, (int, float)):
      raise ValueError(
        f"the rate of a task is {rate!r}: give a number, such as 2.5"
      )
    return rate
  return min(size, mixing.maximum or size) ** (1 / mixing.temperature)


def check(mixing: Mixing, rates: Mapping[str, float | None]) -> None:
  """Raises ValueError unless the two go together."""
  by_size = Mixing(mixing.homogeneous, prompts=mixing.prompts)
  if mixing != by_size and None not in rates.values():
    raise ValueError(
      "rates are given, and a temperature or a maximum for rates by size too:"
      " leave the rates out, or those"
    )
  if not mixing.temperature > 0:
    raise ValueError(
      f"the temperature of a mixture is {mixing.temperature}: give a number"
      " above 0"
    )
  unknown = sorted(set(mixing.prompts) - set(rates))
  if unknown:
    raise ValueError(
      f"prompts are given for {unknown[0]!r}, which is none of the tasks"
      f" {', '.join(map(repr, rates))}: give them under a task's name"
    )
