"""Files appear whole or not at all."""

import os

import pytest

from gtr_jax.files import whole


def test_a_file_appears_when_the_block_ends(tmp_path):
  path = tmp_path / "new" / "folder" / "file"
  with whole.writing(path) as stream:
    stream.write(b"first ")
    assert not path.exists()
    stream.write(b"second")
  assert path.read_bytes() == b"first second"
  whole.write(path, b"third")
  assert path.read_bytes() == b"third"
  assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("before", [None, b"old"])
def test_what_fails_leaves_what_was_there(tmp_path, before):
  path = tmp_path / "file"
  if before is not None:
    path.write_bytes(before)
  with pytest.raises(KeyError), whole.writing(path) as stream:
    stream.write(b"new")
    raise KeyError
  assert [p.read_bytes() for p in tmp_path.iterdir()] == [before] * bool(before)


def test_content_is_on_disk_before_the_name(tmp_path, monkeypatch):
  calls = []
  for name in ("fsync", "replace"):
    real = getattr(os, name)
    monkeypatch.setattr(
      os, name, lambda *a, n=name, f=real: (calls.append(n), f(*a))[1]
    )
  whole.write(tmp_path / "file", b"content")
  assert calls == ["fsync", "replace", "fsync"]  # The last: of the folder.


def test_a_folder_is_no_file_to_write(tmp_path):
  with pytest.raises(ValueError, match="is a folder, a file to write was due"):
    whole.prepare(tmp_path)
  assert whole.prepare(str(tmp_path / "a/b")).parent.is_dir()
