"""What a mixture takes of its tasks."""

import pytest

from gtr_jax.doctor import shares


def test_epochs_are_places_by_pairs():
  found = shares.of({"a": 100, "b": 1000}, {"a": 1, "b": 3}, 4000)
  assert [one.name for one in found] == ["a", "b"]
  assert found[0].rate == pytest.approx(0.25, abs=1e-5)
  assert found[0].num_epochs == pytest.approx(10, abs=1e-3)
  assert found[1].num_epochs == pytest.approx(3, abs=1e-3)


def test_without_steps_there_are_no_epochs():
  found = shares.of({"a": 1, "b": 1}, {"a": 1, "b": 1}, None)
  assert {one.num_epochs for one in found} == {None}
