"""Pairs in record files: as they were, or one clear error."""

import importlib

import pytest

from gtr_jax.data import record_files, sources
from gtr_jax.data.pair import Pair
from gtr_jax.files.lines import BadLineError

PAIRS = [
  Pair("q", ("a",)),
  Pair("日本 🎉", ("a\nb", "c"), ("n",), "s/1", ("s/2", "s/3"), ("s/4",)),
  *(Pair(f"query {n}", (f"answer {n}",)) for n in range(40)),
]


def write_tfrecord(path, records):
  import tensorflow as tf

  with tf.io.TFRecordWriter(str(path)) as writer:
    for record in records:
      writer.write(record)


def write_array_record(path, records):
  library = importlib.import_module("array_record.python.array_record_module")
  writer = library.ArrayRecordWriter(str(path), "group_size:1")
  for record in records:
    writer.write(record)
  writer.close()


WRITERS = {".tfrecord": write_tfrecord, ".array_record": write_array_record}


@pytest.fixture(params=record_files.SUFFIXES)
def suffix(request):
  return request.param


def write(path, records):
  WRITERS[path.suffix](path, records)
  return path


def test_pairs_are_read_as_they_were_written(tmp_path, suffix):
  path = write(tmp_path / f"a{suffix}", map(record_files.encode, PAIRS))
  assert list(sources.read_pairs([path])) == PAIRS
  places = [number for _, number, _ in sources.read_placed([path])]
  assert places == list(range(1, len(PAIRS) + 1))


def test_a_bad_record_is_an_error_or_a_counted_skip(tmp_path, suffix):
  good = record_files.encode(PAIRS[0])
  bad = [b"\xff\xff no example", record_files.encode(Pair("", ("a",)))]
  path = write(tmp_path / f"a{suffix}", [good, bad[0], good, bad[1]])
  with pytest.raises(BadLineError, match=f"a{suffix}:2: no tf.train.Example"):
    list(sources.read_pairs([path]))
  said = []
  assert list(sources.read_pairs([path], "skip", said.append)) == [PAIRS[0]] * 2
  assert "skipped 2 records of 4, first: record 2" in said[0]


@pytest.mark.parametrize("mode", ["error", "skip"])
def test_a_cut_file_always_stops(tmp_path, suffix, mode):
  path = write(tmp_path / f"a{suffix}", map(record_files.encode, PAIRS))
  path.write_bytes(path.read_bytes()[:-7])
  with pytest.raises(BadLineError, match="is broken here .*copy it again"):
    list(sources.read_pairs([path], mode, lambda _: None))


def test_a_damaged_file_always_stops(tmp_path, suffix):
  path = write(tmp_path / f"a{suffix}", map(record_files.encode, PAIRS))
  content = bytearray(path.read_bytes())
  content[len(content) // 2] ^= 0xFF
  path.write_bytes(content)
  with pytest.raises(BadLineError):
    assert list(sources.read_pairs([path])) == PAIRS


def test_a_file_of_no_record_is_told(tmp_path, suffix):
  empty = write(tmp_path / f"a{suffix}", [])
  full = write(tmp_path / f"b{suffix}", map(record_files.encode, PAIRS))
  said = []
  assert list(sources.read_pairs([empty, full], "error", said.append)) == PAIRS
  assert said == [f"{empty}: holds no record"]


def test_a_file_of_bad_records_is_no_pair(tmp_path, suffix):
  path = write(tmp_path / f"a{suffix}", [b"\xff\xff no example"])
  with pytest.raises(BadLineError, match="no pair in the file"):
    list(sources.read_pairs([path], "skip"))
