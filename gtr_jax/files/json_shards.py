"""JSON Lines dealt to several files of one folder, whole or not at all."""

import contextlib
import errno
import fcntl
import glob
import gzip
import itertools
import json
import os
import pathlib
import shutil
import socket
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import IO, Any, cast

from gtr_jax.files import whole

STATISTICS = "statistics.json"
_LEVEL = 4  # gzip's: half the time of its default, 5 % more bytes.


def write(
  folder: pathlib.Path,
  name: str,
  num_shards: int,
  records: Iterable[Mapping[str, Any]],
  statistics: Callable[[], Mapping[str, Any]],
) -> None:
  """Writes `NAME-00000-of-00008.jsonl.gz` and so on, then `statistics.json`.

  Record i goes to shard i mod their number; with fewer records than shards
  there are as many shards as records, since no reader takes an empty file.  The
  same records make the same bytes.

  Args:
    folder: must not be there, or be empty, or hold an earlier result, which is
      replaced.
    statistics: called after the last record.

  Raises:
    ValueError: something else is in the folder.
  """
  with replacing(folder) as partial:
    with opened(partial, name, num_shards) as streams:
      for stream, record in zip(
        itertools.cycle(streams), records, strict=False
      ):
        stream.write(line(record))
    write_statistics(partial / STATISTICS, statistics())


@contextlib.contextmanager
def replacing(folder: pathlib.Path) -> Iterator[pathlib.Path]:
  """An empty folder beside, which takes this one's place if all goes well.

  Raises:
    ValueError: something else than an earlier result is in the folder.
  """
  require_free(folder)
  folder = folder.resolve()  # What a link leads to is replaced, not the link.
  folder.parent.mkdir(parents=True, exist_ok=True)
  with _partial(folder) as partial:
    yield partial
    whole.sync(partial)
    _put(partial, folder)


@contextlib.contextmanager
def opened(
  folder: pathlib.Path, name: str, num_shards: int
) -> Iterator[list[IO[bytes]]]:
  """The shards of a name in a folder, to write to in turn from the first."""
  paths = [folder / shard for shard in names(name, num_shards)]
  with contextlib.ExitStack() as stack:
    try:
      streams = [stack.enter_context(_gzip(path)) for path in paths]
    except OSError as error:
      if error.errno != errno.EMFILE:
        raise
      raise ValueError(
        f"{num_shards} files cannot be open at once: ask for fewer shards, or"
        " raise `ulimit -n`"
      ) from None
    yield streams
    num_full = sum(stream.tell() > 0 for stream in streams)
  if num_full < num_shards:
    for path in paths[num_full:]:
      path.unlink()
    for path, shard in zip(paths, names(name, num_full), strict=False):
      path.rename(folder / shard)


def write_one(path: pathlib.Path, records: Iterable[Mapping[str, Any]]) -> None:
  """Writes one file, by gzip where its name ends so."""
  with whole.writing(path) as raw, _maybe_gzip(raw, path) as stream:
    for record in records:
      stream.write(line(record))


def write_statistics(path: pathlib.Path, statistics: Mapping[str, Any]) -> None:
  content = json.dumps(dict(statistics), indent=2, ensure_ascii=False) + "\n"
  # Names of files may hold bytes that are not UTF-8: JSON has escapes for them.
  whole.write(path, content.encode(errors="backslashreplace"))


def names(name: str, num_shards: int) -> list[str]:
  """The names of the shards, in order."""
  return [
    f"{name}-{number:05d}-of-{num_shards:05d}.jsonl.gz"
    for number in range(num_shards)
  ]


def line(record: Mapping[str, Any]) -> bytes:
  return json.dumps(record, ensure_ascii=False).encode() + b"\n"


def require_free(folder: pathlib.Path) -> None:
  """Raises ValueError unless a result may be put there."""
  if not folder.exists():
    return
  if not folder.is_dir():
    raise ValueError(f"{folder}: is a file, a folder was due for the shards")
  if folder.resolve().is_mount():
    raise ValueError(
      f"{folder}: is where a disk begins and cannot be replaced: name a folder"
      " in it"
    )
  is_ours = (folder / STATISTICS).is_file()
  if not is_ours and any(folder.iterdir()):
    raise ValueError(
      f"{folder}: is not empty and no earlier result: choose another --output"
    )


@contextlib.contextmanager
def _partial(folder: pathlib.Path) -> Iterator[pathlib.Path]:
  """An empty folder beside; those that killed programs left are removed."""
  prefix = f".{folder.name}.{socket.gethostname()}."
  beside = lambda pattern: folder.parent.glob(glob.escape(prefix) + pattern)
  partial = folder.with_name(f"{prefix}{uuid.uuid4().hex[:8]}.tmp")
  with contextlib.ExitStack() as stack:
    # A folder whose lock is free is nobody's.
    with _lock(folder.parent, wait=True):
      for abandoned in beside("*.tmp*"):
        with _lock(abandoned, wait=False) as is_ours:
          if is_ours:
            shutil.rmtree(abandoned, ignore_errors=True)
      partial.mkdir()
      stack.callback(shutil.rmtree, partial, ignore_errors=True)
      stack.enter_context(_lock(partial, wait=False))
    yield partial


@contextlib.contextmanager
def _lock(folder: pathlib.Path, wait: bool) -> Iterator[bool]:
  """Locks a folder; whether that is so.  Some file systems have no locks."""
  descriptor = os.open(folder, os.O_RDONLY)
  try:
    try:
      fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
      is_ours = True
    except OSError:
      is_ours = False
    yield is_ours
  finally:
    os.close(descriptor)


@contextlib.contextmanager
def _gzip(path: pathlib.Path) -> Iterator[IO[bytes]]:
  with path.open("wb") as raw:
    with gzip.GzipFile("", "wb", _LEVEL, raw, mtime=0) as stream:
      yield cast(IO[bytes], stream)
    raw.flush()
    os.fsync(raw.fileno())


@contextlib.contextmanager
def _maybe_gzip(raw: IO[bytes], path: pathlib.Path) -> Iterator[IO[bytes]]:
  if path.suffix != ".gz":
    yield raw
    return
  with gzip.GzipFile("", "wb", _LEVEL, raw, mtime=0) as stream:
    yield cast(IO[bytes], stream)


def _put(partial: pathlib.Path, folder: pathlib.Path) -> None:
  old = folder.with_name(f"{partial.name}.old")
  if folder.exists():
    require_free(folder)
    os.replace(folder, old)
  os.replace(partial, folder)
  shutil.rmtree(old, ignore_errors=True)
  whole.sync(folder.parent)
