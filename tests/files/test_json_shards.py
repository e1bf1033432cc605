"""Records dealt to shards, whole or not at all, the same bytes each time."""

import gzip
import json
import pathlib
import resource
import socket

import pytest

from gtr_jax.files import json_shards


def write(folder, num_records=5, num_shards=2):
  records = ({"number": n, "text": "é"} for n in range(num_records))
  json_shards.write(folder, "x", num_shards, records, lambda: {"all": True})


def test_deals_in_turn(tmp_path):
  write(tmp_path / "out")
  read = {
    path.name: [
      json.loads(line)["number"]
      for line in gzip.decompress(path.read_bytes()).splitlines()
    ]
    for path in (tmp_path / "out").glob("*.gz")
  }
  assert read == {
    "x-00000-of-00002.jsonl.gz": [0, 2, 4],
    "x-00001-of-00002.jsonl.gz": [1, 3],
  }
  assert json.loads((tmp_path / "out" / "statistics.json").read_text()) == {
    "all": True
  }


def test_same_records_same_bytes(tmp_path):
  for name in ("a", "b"):
    write(tmp_path / name)
  for path in (tmp_path / "a").iterdir():
    assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_an_earlier_result_is_replaced(tmp_path):
  write(tmp_path / "out", num_shards=3)
  write(tmp_path / "out", num_shards=1)
  assert len(list((tmp_path / "out").iterdir())) == 2
  assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_failure_leaves_what_was_there(tmp_path):
  def records():
    yield {}
    raise RuntimeError

  write(tmp_path / "out", num_shards=1)
  before = {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()}
  with pytest.raises(RuntimeError):
    json_shards.write(tmp_path / "out", "x", 1, records(), dict)
  after = {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()}
  assert after == before
  assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_others_files_are_left_alone(tmp_path):
  (tmp_path / "mine.txt").write_text("x")
  with pytest.raises(ValueError, match="is not empty and no earlier result"):
    write(tmp_path)


@pytest.mark.parametrize("name", ["pairs.jsonl", "pairs.jsonl.gz"])
def test_one_file(tmp_path, name):
  json_shards.write_one(tmp_path / name, [{"a": 1}, {"a": 2}])
  content = (tmp_path / name).read_bytes()
  content = gzip.decompress(content) if name.endswith("gz") else content
  assert content == b'{"a": 1}\n{"a": 2}\n'


def test_there_are_no_empty_shards(tmp_path):
  write(tmp_path / "out", num_records=2, num_shards=5)
  names = sorted(path.name for path in (tmp_path / "out").glob("*.gz"))
  assert names == ["x-00000-of-00002.jsonl.gz", "x-00001-of-00002.jsonl.gz"]
  write(tmp_path / "out", num_records=0)
  assert [path.name for path in (tmp_path / "out").iterdir()] == [
    "statistics.json"
  ]


def test_what_a_killed_program_left_is_removed(tmp_path):
  left = tmp_path / f".out.{socket.gethostname()}.1234abcd.tmp"
  left.mkdir()
  (left / "x-00000-of-00001.jsonl.gz").write_bytes(b"half")
  with json_shards.replacing(tmp_path / "out") as partial:
    assert not left.exists()
    (partial / "statistics.json").write_text("{}")
    write(tmp_path / "out")  # Another one at work loses nothing.
    assert partial.exists()
  assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_link_stays_a_link(tmp_path):
  (tmp_path / "large_disk" / "there").mkdir(parents=True)
  (tmp_path / "out").symlink_to(tmp_path / "large_disk" / "there")
  write(tmp_path / "out")
  assert (tmp_path / "out").is_symlink()
  assert (tmp_path / "large_disk" / "there" / "statistics.json").is_file()


def test_the_folder_that_one_is_in(tmp_path, monkeypatch):
  (tmp_path / "out").mkdir()
  monkeypatch.chdir(tmp_path / "out")
  write(pathlib.Path())
  assert (tmp_path / "out" / "statistics.json").is_file()


def test_a_disk_is_refused_before_the_work():
  with pytest.raises(ValueError, match="cannot be replaced"):
    json_shards.require_free(pathlib.Path("/"))


def test_more_shards_than_may_be_open_is_told(tmp_path):
  soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
  resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))
  try:
    with pytest.raises(ValueError, match="200 files cannot be open at once"):
      write(tmp_path / "out", num_shards=200)
  finally:
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
  assert not list(tmp_path.iterdir())


def test_names_that_are_not_utf_8(tmp_path):
  json_shards.write_statistics(tmp_path / "s.json", {"input": "\udcff.jsonl"})
  assert json.loads((tmp_path / "s.json").read_text("utf-8")) == {
    "input": "\udcff.jsonl"
  }
