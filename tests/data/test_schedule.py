import numpy as np
import pytest

from gtr_jax.data import schedule


@pytest.fixture
def short(monkeypatch):
  monkeypatch.setattr(schedule, "PERIOD", 24)


def test_each_task_has_its_share_of_a_period(short):
  made = schedule.Schedule([1, 2, 3])
  assert made.counts.tolist() == [4, 8, 12]
  tasks, _ = made.at(np.arange(24))
  assert np.bincount(tasks).tolist() == [4, 8, 12]


def test_a_tasks_places_are_counted_through_all_periods(short):
  made = schedule.Schedule([5, 1, 3.3])
  tasks, turns = made.at(np.arange(7 * 24))
  for task in range(3):
    np.testing.assert_array_equal(
      turns[tasks == task], np.arange(7 * made.counts[task])
    )


def test_any_place_alone_is_what_it_is_among_others(short):
  made = schedule.Schedule([5, 1, 3.3])
  tasks, turns = made.at(np.arange(100))
  for place in (0, 23, 24, 71, 99):
    task, turn = made.at(np.array([place]))
    assert (task[0], turn[0]) == (tasks[place], turns[place])


def test_every_run_of_places_holds_nearly_each_share():
  rates = [0.5, 0.3, 0.15, 0.0499, 0.0001]
  made = schedule.Schedule(rates)
  tasks, _ = made.at(np.arange(200_000))
  for task, share in enumerate(made.counts / schedule.PERIOD):
    seen = np.cumsum(tasks == task)
    due = share * np.arange(1, len(tasks) + 1)
    assert np.abs(seen - due).max() <= (1 + share * len(rates)) / 2


def test_shares_are_as_near_as_a_period_allows():
  rates = [1, 1, 1, 7, 1e-12]
  counts = schedule.Schedule(rates).counts
  assert counts.sum() == schedule.PERIOD
  assert counts[-1] == 1
  np.testing.assert_allclose(
    counts / schedule.PERIOD,
    np.divide(rates, sum(rates)),
    atol=3 / schedule.PERIOD,
  )


def test_one_task_has_every_place():
  tasks, turns = schedule.Schedule([0.3]).at(np.array([0, 5, 2**40]))
  assert tasks.tolist() == [0, 0, 0]
  assert turns.tolist() == [0, 5, 2**40]


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf")])
def test_rates_that_are_none_are_refused(rate):
  with pytest.raises(ValueError, match="a number above 0"):
    schedule.Schedule([1, rate])
