"""Making an embedding store; killed at any time, it goes on where it stopped.

First the texts are copied into the store, then plan.json is written, then
shard after shard, each noted in plan.json; at last manifest.json takes its
place.  Each file is written whole or not at all.
"""

import contextlib
import dataclasses
import hashlib
import pathlib
import re
from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Float32

from gtr_jax.files import lock, whole
from gtr_jax.retrieval import documents, shards, store

LOCK = ".lock"
# As many shards, unless they get too small to batch or too big to lose.
_NUM_SHARDS = 16
_MIN_SHARD_ROWS, _MAX_SHARD_ROWS = 512, 16_384
_OWN_FILE = re.compile(
  r"ids\.txt|documents\.(jsonl|offsets\.npy)|(plan|manifest)\.json"
  r"|shard-\d+-of-\d+\.npy|\.lock|\..*\.\d+\.tmp"
)

# Adds all texts by the function that it is given; returns how many bad lines
# it left out.
Copy = Callable[[documents.Add], int]


class Writer:
  """A store that is being made.

  Attributes:
    directory: of the store.
    manifest: with None for each shard that is still missing.
    documents: ids and texts, all of them.
  """

  def __init__(self, directory: pathlib.Path, manifest: store.Manifest):
    self.directory = directory
    self.manifest = manifest
    self.documents = documents.Documents(directory, manifest.rows)

  def missing(self) -> list[int]:
    """The shards still to be made, ascending."""
    return [
      shard for shard, done in enumerate(self.manifest.shards) if not done
    ]

  def texts(self, shard: int) -> documents.Texts:
    """The texts of a shard, read when they are asked for."""
    return self.documents.texts(*self.manifest.shard_span(shard))

  def write_shard(
    self, shard: int, embeddings: Float32[np.ndarray, "n D"], truncated: int
  ) -> None:
    """Writes a shard and notes that it is finished.

    Args:
      truncated: how many of its texts were cut.
    """
    start, stop = self.manifest.shard_span(shard)
    dim = self.manifest.dim or embeddings.shape[1]
    if embeddings.shape != (stop - start, dim):
      raise ValueError(
        f"shard {shard} is {embeddings.shape}, due is {(stop - start, dim)}"
      )
    path = self.manifest.shard_path(self.directory, shard)
    shards.write(path, embeddings, self.manifest.recipe.dtype)
    finished = list(self.manifest.shards)
    finished[shard] = store.Shard(stop - start, truncated)
    self.manifest = dataclasses.replace(
      self.manifest, dim=dim, shards=tuple(finished)
    )
    _write(self.directory / store.PLAN, self.manifest)

  def finish(self) -> None:
    """Makes the store whole.

    Raises:
      ValueError: shards are missing.
    """
    if self.missing():
      raise ValueError(f"{self.directory}: shards {self.missing()} are missing")
    _write(self.directory / store.MANIFEST, self.manifest)
    (self.directory / store.PLAN).unlink(missing_ok=True)


@contextlib.contextmanager
def opened(
  directory: pathlib.Path,
  recipe: store.Recipe,
  source: store.Source,
  copy: Copy,
  shard_rows: int | None = None,
) -> Iterator[Writer]:
  """A writer for a new store, or for one of the same recipe and source.

  Shards that are on disk and whole are kept.  No other process can write the
  same store inside the block.

  Args:
    copy: called if the texts are not in the store yet.
    shard_rows: texts a shard; None chooses, or keeps what was chosen.

  Raises:
    ValueError: a directory of something else, or of another recipe or source.
  """
  if shard_rows is not None and shard_rows < 1:
    raise ValueError(f"shard_rows is {shard_rows}: give 1 or more")
  with _locked(directory):
    for name in (store.MANIFEST, store.PLAN):
      if (directory / name).is_file():
        manifest = store.read_manifest(directory / name)
        _check_same(directory, manifest, recipe, source, shard_rows)
        break
    else:
      manifest = _new(directory, recipe, source, copy, shard_rows)
    manifest = _without_broken_shards(directory, manifest)
    if None in manifest.shards:
      # In this order: a manifest without its shards would be a broken store.
      _write(directory / store.PLAN, manifest)
      (directory / store.MANIFEST).unlink(missing_ok=True)
    yield Writer(directory, manifest)


def fingerprint(path: pathlib.Path) -> store.Source:
  """Name, size and hash of a file."""
  with path.open("rb") as stream:
    digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return store.Source(path.name, stream.tell(), digest)


def _new(
  directory: pathlib.Path,
  recipe: store.Recipe,
  source: store.Source,
  copy: Copy,
  shard_rows: int | None,
) -> store.Manifest:
  with documents.writing(directory) as add:
    num_rows = 0

    def counted(identifier: str, title: str, text: str) -> None:
      nonlocal num_rows
      add(identifier, title, text)
      num_rows += 1

    num_skipped = copy(counted)
    if not num_rows:
      raise ValueError(f"{source.name}: there is no text in it: nothing to do")
  if shard_rows is None:
    share = -(-num_rows // _NUM_SHARDS)
    shard_rows = min(max(share, _MIN_SHARD_ROWS), _MAX_SHARD_ROWS)
  num_shards = -(-num_rows // shard_rows)
  return store.Manifest(
    recipe,
    source,
    num_rows,
    shard_rows,
    num_skipped,
    dim=None,
    shards=(None,) * num_shards,
  )


def _check_same(
  directory: pathlib.Path,
  manifest: store.Manifest,
  recipe: store.Recipe,
  source: store.Source,
  shard_rows: int | None,
) -> None:
  was = dataclasses.asdict(manifest.recipe)
  now = dataclasses.asdict(recipe)
  was |= {"input": manifest.source.sha256, "shard_rows": manifest.shard_rows}
  now |= {"input": source.sha256, "shard_rows": shard_rows}
  if shard_rows is None:
    del was["shard_rows"], now["shard_rows"]
  changed = [
    f"{name} was {was[name]!r} and is {now[name]!r}"
    for name in now
    if was[name] != now[name]
  ]
  if changed:
    raise ValueError(
      f"{directory}: holds other embeddings: {'; '.join(changed)}: choose"
      " another --output, or delete this one"
    )


def _without_broken_shards(
  directory: pathlib.Path, manifest: store.Manifest
) -> store.Manifest:
  def unbroken(shard: int) -> store.Shard | None:
    try:
      store.read_shard(directory, manifest, shard)
    except ValueError:
      return None
    return manifest.shards[shard]

  kept = tuple(unbroken(shard) for shard in range(len(manifest.shards)))
  return dataclasses.replace(manifest, shards=kept)


@contextlib.contextmanager
def _locked(directory: pathlib.Path) -> Iterator[None]:
  """Makes the directory and keeps other writers out; a kill lets them in."""
  _check_own(directory)
  directory.mkdir(parents=True, exist_ok=True)
  refusal = (
    f"{directory}: another `gtr encode` is writing it: wait, or choose another"
    " --output"
  )
  with lock.held(directory / LOCK, refusal):
    for leftover in directory.glob(".*.tmp"):
      leftover.unlink()
    yield


def _check_own(directory: pathlib.Path) -> None:
  if directory.exists() and not directory.is_dir():
    raise ValueError(f"{directory}: is a file, a folder was due for the store")
  if not directory.is_dir():
    return
  foreign = [
    path.name
    for path in directory.iterdir()
    if not _OWN_FILE.fullmatch(path.name)
  ]
  if foreign:
    raise ValueError(
      f"{directory}: holds {foreign[0]}, which is no part of an embedding"
      " store: choose another --output"
    )


def _write(path: pathlib.Path, manifest: store.Manifest) -> None:
  whole.write(path, manifest.to_json())
