"""What a mixture takes of each of its tasks."""

from collections.abc import Mapping
from dataclasses import dataclass

from gtr_jax.data.schedule import Schedule


@dataclass(frozen=True)
class Share:
  """A task of a mixture.

  Attributes:
    rate: its share of all places.
    num_epochs: times that its pairs are seen; None if the number of steps is
      not known.
  """

  name: str
  num_pairs: int
  rate: float
  num_epochs: float | None


def of(
  sizes: Mapping[str, int], rates: Mapping[str, float], num_places: int | None
) -> list[Share]:
  """The tasks, those that are repeated most first.

  Args:
    sizes: pairs of each task.
    rates: against each other.
    num_places: examples that a training takes: steps times batch size.
  """
  counts = Schedule(list(rates.values())).counts
  shares = [
    Share(
      name,
      sizes[name],
      float(count / counts.sum()),
      num_places
      and float(num_places * count / counts.sum() / max(sizes[name], 1)),
    )
    for name, count in zip(rates, counts, strict=True)
  ]
  return sorted(shares, key=lambda one: -one.rate / max(one.num_pairs, 1))
