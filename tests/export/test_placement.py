import pathlib

import pytest

from gtr_jax.export import placement


def fill(directory, text="new"):
  (directory / "data").mkdir()
  (directory / "data" / "file").write_text(text)
  (directory / placement.DESCRIPTION_FILE).write_text("{}")


def make(output, text="new", overwrite=False):
  with placement.new_directory(output, overwrite) as directory:
    fill(directory, text)


def content(output):
  return (output / "data" / "file").read_text()


def test_appears_whole_with_nothing_beside_it(tmp_path):
  output = tmp_path / "deep" / "export"
  with placement.new_directory(output) as directory:
    fill(directory)
    assert not output.exists()
    assert directory.parent == output.parent  # One disk: a rename is enough.
  assert content(output) == "new"
  assert list(output.parent.iterdir()) == [output]


def test_an_empty_directory_may_be_there(tmp_path):
  output = tmp_path / "export"
  output.mkdir()
  make(output)
  assert content(output) == "new"


def test_failure_leaves_nothing(tmp_path):
  with (
    pytest.raises(ZeroDivisionError),
    placement.new_directory(tmp_path / "export") as directory,
  ):
    fill(directory)
    raise ZeroDivisionError
  assert not list(tmp_path.iterdir())


def test_overwriting_replaces_the_earlier_one_and_only_at_the_end(tmp_path):
  output = tmp_path / "export"
  make(output, "old")
  with pytest.raises(ValueError, match="--overwrite"):
    make(output)
  with (
    pytest.raises(KeyboardInterrupt),
    placement.new_directory(output, overwrite=True),
  ):
    raise KeyboardInterrupt
  assert content(output) == "old"
  make(output, overwrite=True)
  assert content(output) == "new"
  assert list(tmp_path.iterdir()) == [output]


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_is_no_export_is_never_touched(tmp_path, overwrite):
  precious = tmp_path / "home"
  precious.mkdir()
  (precious / "thesis.tex").write_text("years")
  with pytest.raises(ValueError, match="no earlier export; choose another"):
    make(precious, overwrite=overwrite)
  with pytest.raises(ValueError, match="is a file; choose another --output"):
    make(precious / "thesis.tex", overwrite=overwrite)
  assert (precious / "thesis.tex").read_text() == "years"
  assert [path.name for path in tmp_path.rglob("*")] == ["home", "thesis.tex"]


def test_what_came_meanwhile_is_not_overwritten(tmp_path):
  output = tmp_path / "export"
  with (
    pytest.raises(ValueError, match="--overwrite"),
    placement.new_directory(output) as directory,
  ):
    fill(directory)
    make(output, "another process")
  assert content(output) == "another process"
  assert list(tmp_path.iterdir()) == [output]


def test_a_relative_path_and_a_link_work(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / "real").mkdir()
  pathlib.Path("link").symlink_to("real")
  make(pathlib.Path("link"))
  assert content(tmp_path / "real") == "new"
