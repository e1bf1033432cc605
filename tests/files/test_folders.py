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


def test_search_follows_links_and_enters_no_folder_twice(tmp_path):
  (tmp_path / "disk").mkdir()
  (tmp_path / "disk" / "a.txt").touch()
  (tmp_path / "data" / "x").mkdir(parents=True)
  (tmp_path / "data" / "b.txt").touch()
  (tmp_path / "data" / "b.log").touch()
  (tmp_path / "data" / "x" / "loop").symlink_to(tmp_path / "data")
  (tmp_path / "data" / "x" / "linked").symlink_to(tmp_path / "disk")
  found = folders.search(tmp_path / "data", lambda path: path.suffix == ".txt")
  assert [str(path.relative_to(tmp_path)) for path in found] == [
    "data/b.txt",
    "data/x/linked/a.txt",
  ]


def test_search_tells_of_links_that_lead_nowhere(tmp_path):
  (tmp_path / "a.txt").symlink_to(tmp_path / "gone")
  with pytest.raises(ValueError, match="a link that leads nowhere"):
    folders.search(tmp_path, lambda path: True)
  assert not folders.search(tmp_path, lambda path: path.suffix == ".log")
