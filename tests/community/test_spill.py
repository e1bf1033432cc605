import random

import pytest

from gtr_jax.community import spill


def test_rows_come_back(tmp_path):
  path = tmp_path / "rows"
  rows = [(1, "日本", None), (2, ("a", "b"), "\ud800"), (3,)]
  spill.append(path, rows[:2])
  spill.append(path, [])
  spill.append(path, rows[2:])
  assert list(spill.read(path)) == rows


@pytest.mark.parametrize("num_files", [0, 1, 3, 10])
def test_sorted_files_become_one_order(tmp_path, monkeypatch, num_files):
  monkeypatch.setattr(spill, "_FAN_IN", 3)
  monkeypatch.setattr(spill, "_CHUNK_ROWS", 4)
  numbers = list(range(50))
  random.Random(0).shuffle(numbers)
  paths = [tmp_path / str(n) for n in range(num_files)]
  for place, path in enumerate(paths):
    mine = sorted(numbers[place::num_files])
    spill.write(path, ((number, "text") for number in mine))
  merged = spill.merged(paths, tmp_path)
  # Few files are open at once, and none is kept twice.
  assert len(list(tmp_path.iterdir())) <= 3
  expected = sorted(numbers) if num_files else []
  assert [number for number, _ in merged] == expected
