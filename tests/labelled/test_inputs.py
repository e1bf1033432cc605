"""Which files are read."""

import pytest

from gtr_jax.labelled import inputs


def test_listed_files_hold_something_and_come_once(tmp_path):
  (tmp_path / "a.jsonl").write_text("{}\n")
  assert inputs.listed([tmp_path], ".jsonl") == [tmp_path / "a.jsonl"]
  with pytest.raises(ValueError, match="a.jsonl: is the same file as"):
    inputs.listed([tmp_path, tmp_path / "a.jsonl"], ".jsonl")
  (tmp_path / "b.jsonl").touch()
  with pytest.raises(ValueError, match="b.jsonl:1: the file is empty"):
    inputs.listed([tmp_path], ".jsonl")
