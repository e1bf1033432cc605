"""What --fail_on means."""

import pytest

from gtr_jax.doctor import finding, gate
from gtr_jax.doctor.finding import Finding


def found(name, count, total=100):
  return Finding(name, "", count, total, 1.0, "")


@pytest.mark.parametrize(
  "rule, count, broken",
  [
    ("empty", 0, False),
    ("empty", 1, True),
    ("empty>0", 1, True),
    ("empty>3", 3, False),
    ("empty>3", 4, True),
    ("empty>0.03", 3, False),
    ("empty>0.03", 4, True),
    ("duplicates", 4, False),
  ],
)
def test_bounds_are_shares_or_counts(rule, count, broken):
  (parsed,) = gate.parse(rule)
  assert bool(parsed.broken_by([found("empty", count)])) == broken


def test_a_group_is_any_of_its_findings():
  (rule,) = gate.parse("overlap")
  assert rule.broken_by([found("overlap_corpus", 1)])
  assert not rule.broken_by([found("overlap_corpus", 0), found("empty", 1)])


@pytest.mark.parametrize(
  "text", ["empty>", "empty>much", "empty>-1", ",", "a>nan"]
)
def test_what_is_no_rule_is_refused(text):
  with pytest.raises(ValueError, match="--fail_on"):
    gate.parse(text)


def test_unknown_names_are_refused_with_the_nearest():
  with pytest.raises(ValueError, match="did you mean duplicates"):
    gate.check(gate.parse("duplicate"), finding.NAMES)


def test_a_rule_about_what_is_not_looked_for_is_refused():
  with pytest.raises(ValueError, match="give --eval"):
    gate.check(gate.parse("overlap"), ["empty"])
  with pytest.raises(ValueError, match="pip install"):
    gate.check(gate.parse("mojibake"), ["empty"])
  gate.check(gate.parse("empty,encoding"), ["empty", "html"])
