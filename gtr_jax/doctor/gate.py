"""Which findings make a check fail: NAME, or NAME>BOUND."""

import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from gtr_jax.doctor import encoding_trouble, finding
from gtr_jax.doctor.finding import Finding

# Names that stand for several findings.
GROUPS: Mapping[str, Sequence[str]] = {
  "overlap": finding.OVERLAP,
  "near_duplicates": finding.NEAR,
  "truncated": ("truncated_query", "truncated_passage"),
  "encoding": encoding_trouble.KINDS,
}


@dataclass(frozen=True)
class Rule:
  """A finding may not be above a bound.

  Attributes:
    bound: below 1, a share; else a count.  Any finding is above 0.
  """

  name: str
  bound: float = 0.0

  def broken_by(self, found: Sequence[Finding]) -> Finding | None:
    """The first finding of this name that is above the bound."""
    names = GROUPS.get(self.name, (self.name,))
    for one in found:
      value = one.rate if 0 < self.bound < 1 else one.count
      if one.name in names and value > self.bound:
        return one
    return None

  def __str__(self) -> str:
    return f"{self.name}>{self.bound:g}" if self.bound else self.name


def parse(text: str) -> list[Rule]:
  """The rules of a text: `overlap,duplicates>0.01,empty`.

  Raises:
    ValueError: a bound that is no number, or nothing.
  """
  rules = []
  for part in filter(None, (part.strip() for part in text.split(","))):
    name, above, bound = (word.strip() for word in part.partition(">"))
    try:
      number = float(bound) if above else 0.0
    except ValueError:
      number = -1.0
    if not number >= 0:
      raise ValueError(
        f"--fail_on {part}: {bound!r} is no bound: give a share below 1, as in"
        " duplicates>0.01, or a count"
      )
    rules.append(Rule(name, number))
  if not rules:
    raise ValueError("--fail_on is empty: name findings, as in overlap,empty")
  return rules


def check(rules: Sequence[Rule], looked_for: Collection[str]) -> None:
  """Raises ValueError for a rule about what is not looked for.

  Args:
    looked_for: names of findings.
  """
  known = [*GROUPS, *finding.NAMES]
  for rule in rules:
    if rule.name not in known:
      near = difflib.get_close_matches(rule.name, known, 2)
      hint = f"did you mean {' or '.join(near)}?" if near else ""
      raise ValueError(
        f"--fail_on {rule}: nothing is called {rule.name!r};"
        f" {hint or 'known are ' + ', '.join(sorted(known))}"
      )
    if not set(GROUPS.get(rule.name, (rule.name,))) & set(looked_for):
      needs = (
        "give --eval"
        if "overlap" in rule.name
        else f"{finding.NOT_INSTALLED}, and leave --near_duplicates above 0"
      )
      raise ValueError(f"--fail_on {rule}: it is not looked for: {needs}")
