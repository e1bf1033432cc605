"""A bar on standard error for work of more than a few seconds."""

import contextlib
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def bar(
  description: str, total: int | None, unit: str = "text"
) -> Iterator[Callable[[int], None]]:
  """A function that is told how much more is done; quiet off a terminal.

  Args:
    total: None where nobody knows.
  """
  import tqdm

  with tqdm.tqdm(
    desc=description, total=total, unit=unit, disable=None, delay=2, leave=False
  ) as shown:

    def advance(amount: int) -> None:
      shown.update(amount)

    yield advance
