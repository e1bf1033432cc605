"""Turns, and the figures that are made of them."""

import json

import pytest

from benchmarks import runner


def test_cases_take_turns_after_one_call_that_is_not_counted():
  calls = []

  def case(name, seconds):
    def call():
      calls.append(name)
      return runner.Sample(next(seconds), 0.0)

    return call

  times = runner.alternate(
    {
      "a": case("a", iter([9.0, 1.0, 3.0, 2.0])),
      "b": case("b", iter([9.0, 4.0, 5.0, 6.0])),
    },
    3,
  )
  assert calls == ["a", "b", "a", "b", "b", "a", "a", "b"]
  assert times["a"].best() == 1.0 and times["a"].median() == 2.0
  assert times["b"].spread() == pytest.approx(2 / 5)


def test_a_ratio_above_one_is_faster(capsys):
  fast = runner.Times([runner.Sample(1.0, 2.0), runner.Sample(3.0, 2.0)])
  slow = runner.Times([runner.Sample(4.0, 6.0), runner.Sample(8.0, 6.0)])
  runner.show_rate("train step", "pairs/s", 32, fast, "other", slow)
  line = json.loads(capsys.readouterr().out)
  assert (line["value"], line["median"]) == (32, 16)
  assert line["beside"]["value"] == 8 and line["ratio"] == 4
  assert (line["ratio_of_medians"], line["ratio_of_cpu"]) == (3, 3)
