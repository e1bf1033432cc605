"""How many tokens of a query and a passage are read, data set by data set."""

from collections.abc import Mapping
from typing import NamedTuple


class Lengths(NamedTuple):
  """Tokens at most, EOS included."""

  query: int
  passage: int


# Source: Ni et al., 2021, section 4.2 (https://arxiv.org/abs/2112.07899).
GTR = Lengths(query=64, passage=512)
GTR_EXCEPTIONS = {
  "arguana": Lengths(query=512, passage=512),
  "robust04": Lengths(query=64, passage=768),
  "trec-news": Lengths(query=64, passage=768),
}


def choose(
  name: str,
  query: int | None = None,
  passage: int | None = None,
  exceptions: Mapping[str, Lengths] | None = None,
) -> Lengths:
  """The lengths for a data set, by the name of its folder.

  Args:
    query, passage: for every data set that `exceptions` does not name; None
      takes GTR's, its exceptions included.
    exceptions: lengths of single data sets.
  """
  key = name.lower().replace("_", "-")
  if exceptions and key in exceptions:
    return exceptions[key]
  default = GTR_EXCEPTIONS.get(key, GTR)
  return Lengths(
    default.query if query is None else query,
    default.passage if passage is None else passage,
  )


def parse_exception(text: str) -> tuple[str, Lengths]:
  """Reads `NAME=QUERY:PASSAGE`, such as `arguana=512:512`.

  Raises:
    ValueError: it is not that.
  """
  name, _, numbers = text.partition("=")
  parts = numbers.split(":")
  if not name or len(parts) != 2 or not all(map(str.isdecimal, parts)):
    raise ValueError(
      f"a length exception is {text!r}, due is NAME=QUERY:PASSAGE such as"
      " arguana=512:512"
    )
  key = name.lower().replace("_", "-")
  return key, Lengths(int(parts[0]), int(parts[1]))
