"""JSON Lines dealt to several files of one folder, whole or not at all."""

import contextlib
import gzip
import itertools
import json
import os
import pathlib
import shutil
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

  Record i goes to shard i mod their number.  The same records make the same
  bytes.

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
  folder.parent.mkdir(parents=True, exist_ok=True)
  tag = f"{folder.name}.{uuid.uuid4().hex[:8]}"
  partial = folder.with_name(f".{tag}.tmp")
  partial.mkdir()
  try:
    yield partial
    whole.sync(partial)
    _put(partial, folder)
  finally:
    shutil.rmtree(partial, ignore_errors=True)


@contextlib.contextmanager
def opened(
  folder: pathlib.Path, name: str, num_shards: int
) -> Iterator[list[IO[bytes]]]:
  """The shards of a name in a folder, to write to."""
  with contextlib.ExitStack() as stack:
    yield [
      stack.enter_context(_gzip(folder / shard))
      for shard in names(name, num_shards)
    ]


def write_one(path: pathlib.Path, records: Iterable[Mapping[str, Any]]) -> None:
  """Writes one file, by gzip where its name ends so."""
  with whole.writing(path) as raw, _maybe_gzip(raw, path) as stream:
    for record in records:
      stream.write(line(record))


def write_statistics(path: pathlib.Path, statistics: Mapping[str, Any]) -> None:
  content = json.dumps(dict(statistics), indent=2, ensure_ascii=False) + "\n"
  whole.write(path, content.encode())


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
  is_ours = (folder / STATISTICS).is_file()
  if not is_ours and any(folder.iterdir()):
    raise ValueError(
      f"{folder}: is not empty and no earlier result: choose another --output"
    )


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
