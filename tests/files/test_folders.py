"""A folder is made once, whole or not at all."""

import pytest

from gtr_jax.files import folders


def test_is_made_once(tmp_path):
  made = []

  def make(folder):
    made.append(folder)
    (folder / "marker").write_text(str(len(made)))

  for _ in range(2):
    folders.make_once(tmp_path / "a" / "folder", "marker", make)
  assert len(made) == 1
  assert (tmp_path / "a" / "folder" / "marker").read_text() == "1"


def test_nothing_is_left_of_a_failure(tmp_path):
  def fail(folder):
    (folder / "half").write_text("x")
    raise RuntimeError

  with pytest.raises(RuntimeError):
    folders.make_once(tmp_path / "folder", "marker", fail)
  assert [path.name for path in tmp_path.iterdir()] == [".folder.lock"]


def test_a_folder_without_its_marker_is_made_anew(tmp_path):
  (tmp_path / "folder").mkdir()
  (tmp_path / "folder" / "old").write_text("x")
  folders.make_once(
    tmp_path / "folder", "marker", lambda f: (f / "marker").touch()
  )
  assert [path.name for path in (tmp_path / "folder").iterdir()] == ["marker"]
