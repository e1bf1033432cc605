"""Embedding stores: a matrix, its ids and texts, and what made them.

  manifest.json              written last: with it the store is whole
  shard-00000-of-00032.npy   embeddings [n, D], and so on
  ids.txt, documents.jsonl, documents.offsets.npy: see `documents`

While it is made, plan.json stands in for the manifest; see `store_writer`.
"""

import dataclasses
import json
import pathlib
from typing import Any

from gtr_jax.retrieval import documents, shards
from gtr_jax.types import TowerName

MANIFEST = "manifest.json"
PLAN = "plan.json"
FORMAT = "gtr_jax embedding store 1"


@dataclasses.dataclass(frozen=True)
class Recipe:
  """What, with the texts, decides the embeddings.

  Attributes:
    checkpoint: hash of the parameters.
    vocabulary: hash of the tokenizer's model.
    tower: which tower read the texts.
    length: tokens of a text at most.
    prompt: text put before each.
    dtype: "float32", "float16" or "bfloat16".
  """

  checkpoint: str
  vocabulary: str
  tower: TowerName
  length: int
  prompt: str = ""
  dtype: str = "float32"

  def __post_init__(self):
    if self.dtype not in shards.DTYPES:
      raise ValueError(
        f"dtype is {self.dtype!r}, due is one of {', '.join(shards.DTYPES)}"
      )


@dataclasses.dataclass(frozen=True)
class Source:
  """The file of the texts, recognised by its content and not by its place."""

  name: str
  num_bytes: int
  sha256: str


@dataclasses.dataclass(frozen=True)
class Shard:
  """A finished file of embeddings.

  Attributes:
    rows: texts in it.
    truncated: how many of them were cut to the length.
  """

  rows: int
  truncated: int


@dataclasses.dataclass(frozen=True)
class Manifest:
  """What is in a store, or will be.

  Attributes:
    rows: texts.
    shard_rows: texts in each shard but the last.
    skipped: bad lines of the source that were left out.
    dim: width of an embedding; None before the first.
    shards: None for one that is not finished.
  """

  recipe: Recipe
  source: Source
  rows: int
  shard_rows: int
  skipped: int
  dim: int | None
  shards: tuple[Shard | None, ...]

  @property
  def truncated(self) -> int:
    return sum(shard.truncated for shard in self.shards if shard)

  def shard_span(self, shard: int) -> tuple[int, int]:
    """Its first row, and the row after its last."""
    start = shard * self.shard_rows
    return start, min(start + self.shard_rows, self.rows)

  def shard_path(self, directory: pathlib.Path, shard: int) -> pathlib.Path:
    return directory / shards.file_name(shard, len(self.shards))

  def to_json(self) -> bytes:
    record = {
      "format": FORMAT,
      **dataclasses.asdict(self),
      "truncated": self.truncated,
    }
    return json.dumps(record, indent=1, ensure_ascii=False).encode() + b"\n"


@dataclasses.dataclass(frozen=True)
class Store:
  """A finished store.

  Attributes:
    documents: ids and texts of the rows.
    embeddings: [C, D] in the stored dtype, memory-mapped, read by slices.
  """

  directory: pathlib.Path
  manifest: Manifest
  documents: documents.Documents
  embeddings: shards.Embeddings


def load(directory: str | pathlib.Path) -> Store:
  """Opens a finished store and checks that its files are all there, whole.

  Raises:
    ValueError: no store, an unfinished one, or one with a file missing or cut.
  """
  directory = pathlib.Path(directory)
  if not (directory / MANIFEST).is_file():
    if (directory / PLAN).is_file():
      raise ValueError(
        f"{directory}: the store is not finished: run the same `gtr encode`"
        " again, it goes on where it stopped"
      )
    raise ValueError(
      f"{directory}: is no embedding store: it has no {MANIFEST}; make one with"
      " `gtr encode`"
    )
  manifest = read_manifest(directory / MANIFEST)
  parts = [
    read_shard(directory, manifest, shard)
    for shard in range(len(manifest.shards))
  ]
  return Store(
    directory,
    manifest,
    documents.Documents(directory, manifest.rows),
    shards.Embeddings(parts, manifest.dim or 0),
  )


def read_shard(directory: pathlib.Path, manifest: Manifest, shard: int):
  """The memory-mapped embeddings of one shard; a ValueError if it is broken."""
  start, stop = manifest.shard_span(shard)
  path = manifest.shard_path(directory, shard)
  return shards.read(path, manifest.recipe.dtype, stop - start)


def read_manifest(path: pathlib.Path) -> Manifest:
  """A manifest or a plan.

  Raises:
    ValueError: a file that is not one, or of another version.
  """
  try:
    record: dict[str, Any] = json.loads(path.read_bytes())
    if record.pop("format") != FORMAT:
      raise ValueError("of another format")
    record.pop("truncated")
    record["recipe"] = Recipe(**record["recipe"])
    record["source"] = Source(**record["source"])
    record["shards"] = tuple(
      shard and Shard(**shard) for shard in record["shards"]
    )
    return Manifest(**record)
  except (ValueError, KeyError, TypeError, AttributeError) as error:
    raise ValueError(
      f"{path}: is no manifest of this version of gtr_jax ({error!r}): encode"
      " again into another --output"
    ) from None
