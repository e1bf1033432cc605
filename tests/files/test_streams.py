"""Compressed files: read whole, or one clear error."""

import bz2
import gzip
import lzma
import os
import random
import sys

import pytest

from gtr_jax.files import streams

CONTENT = random.Random(0).randbytes(3 << 20) + b"the end\n"


def seven_zip(path, **members):
  py7zr = pytest.importorskip("py7zr", reason="py7zr is not installed: [data]")
  with py7zr.SevenZipFile(path, "w") as archive:
    for name, content in members.items():
      archive.writestr(content, name)


def zst(content):
  zstd = pytest.importorskip(
    "backports.zstd", reason="backports.zstd is not installed: [data]"
  )
  return zstd.compress(
    content, options={zstd.CompressionParameter.checksum_flag: 1}
  )


COMPRESS = {
  ".gz": lambda content: gzip.compress(content, 1),
  ".bz2": lambda content: bz2.compress(content, 1),
  ".xz": lambda content: lzma.compress(content, preset=0),
  ".zst": zst,
}
KINDS = [*COMPRESS, ".7z"]


@pytest.fixture(scope="module", params=KINDS)
def packed(request, tmp_path_factory):
  path = tmp_path_factory.mktemp("streams") / f"file{request.param}"
  if request.param == ".7z":
    seven_zip(path, a=b"another", b=CONTENT)
  else:
    path.write_bytes(COMPRESS[request.param](CONTENT))
  return path


def read(path, member="b"):
  with streams.opened(path, member) as stream:
    return b"".join(iter(lambda: stream.read(1 << 16), b""))


def test_reads_what_was_written(packed):
  assert read(packed) == CONTENT
  with streams.opened(packed, "b") as stream:  # The reader may leave early.
    assert stream.read(3) == CONTENT[:3]


def test_the_name_or_the_first_bytes_tell(packed, tmp_path):
  renamed = tmp_path / "file"
  renamed.write_bytes(packed.read_bytes())
  assert read(renamed) == CONTENT
  assert streams.stem(packed) == "file"


@pytest.mark.parametrize("share", [0.001, 0.5, 0.999])
def test_a_cut_file_is_one_clear_error(packed, tmp_path, share):
  content = packed.read_bytes()
  cut = tmp_path / packed.name
  cut.write_bytes(content[: int(len(content) * share)])
  with pytest.raises(streams.BrokenStreamError, match="stream is broken here"):
    read(cut)


@pytest.mark.parametrize("start", [100, 1 << 20])
def test_a_damaged_file_is_one_clear_error(packed, tmp_path, start):
  content = bytearray(packed.read_bytes())
  content[start : start + 50] = bytes(50)
  damaged = tmp_path / packed.name
  damaged.write_bytes(content)
  with pytest.raises(streams.BrokenStreamError, match="copy the file again"):
    read(damaged)


@pytest.mark.parametrize("content", [b"", b"BZhello\n", b"plain"])
def test_plain_files(tmp_path, content):
  path = tmp_path / "Posts.xml"
  path.write_bytes(content)
  assert read(path) == content
  assert streams.stem(path) == "Posts.xml"


def test_an_archive_names_what_it_holds(tmp_path):
  path = tmp_path / "site.7z"
  seven_zip(path, one=b"1", two=b"2")
  assert read(path, "TWO") == b"2"
  with pytest.raises(ValueError, match=r"0 files named b, .*holds: one, two\)"):
    read(path)
  with pytest.raises(ValueError, match="2 files named"):
    read(path, "")


@pytest.mark.parametrize(
  "name, library", [("a.zst", "backports.zstd"), ("a.7z", "py7zr")]
)
def test_says_what_to_install(tmp_path, monkeypatch, name, library):
  path = tmp_path / name
  path.write_bytes(b"")
  monkeypatch.setitem(sys.modules, library, None)
  with pytest.raises(ValueError, match=r"pip install 'gtr_jax\[data\]'"):
    read(path)


def test_a_pipe_is_refused_not_waited_for(tmp_path):
  os.mkfifo(tmp_path / "pipe.jsonl")
  with pytest.raises(ValueError, match="a pipe or a device, a file was due"):
    read(tmp_path / "pipe.jsonl")
