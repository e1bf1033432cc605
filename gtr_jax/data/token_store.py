"""Tokenised examples on disk, with random access.

A store is a folder: flat little-endian arrays, mapped into memory, and a
manifest that is written last.

  tokens.bin           uint16 or int32 [tokens]   all texts, one behind another
  text_offsets.bin     int64 [texts + 1]          text t: tokens[o[t]:o[t + 1]]
  keys.bin             int32 [texts, 2]           hash of the id, of the tokens
  example_offsets.bin  int64 [examples + 1]       texts of example e likewise
  num_positives.bin    int32 [examples]

The texts of an example are its query, its positives, its negatives.
"""

import json
import math
import pathlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from gtr_jax import packing
from gtr_jax.types import TowerName

FORMAT = 1
MANIFEST_FILE = "manifest.json"


@dataclass(frozen=True)
class Statistics:
  """What a store holds.

  Attributes:
    num_tokens: EOS included, a tower.
    num_cut: texts that were longer than their tower's length.
    max_positives, max_negatives: of any example.
  """

  num_examples: int
  num_passages: int
  num_tokens: Mapping[TowerName, int]
  num_cut: Mapping[TowerName, int]
  max_positives: int
  max_negatives: int


@dataclass(frozen=True, eq=False)
class Spans:
  """The texts of some examples: query, positives, negatives end to end.

  Attributes:
    queries: number of each query's text, [b].
    num_positives, num_negatives: [b].
  """

  queries: np.ndarray
  num_positives: np.ndarray
  num_negatives: np.ndarray


@dataclass(frozen=True, eq=False)
class TokenStore:
  """A store opened for reading; the arrays are mapped, not read.

  Attributes:
    content: hash of all arrays: the same examples have the same, whatever
      file they came from.
    lengths: most tokens of a text, by tower.
    notes: what was left out while it was built, for people.
  """

  directory: pathlib.Path
  content: str
  vocab_size: int
  lengths: Mapping[TowerName, int]
  statistics: Statistics
  notes: tuple[str, ...]
  tokens: np.ndarray = field(repr=False)
  text_offsets: np.ndarray = field(repr=False)
  keys: np.ndarray = field(repr=False)
  example_offsets: np.ndarray = field(repr=False)
  num_positives: np.ndarray = field(repr=False)

  def __len__(self) -> int:
    return self.statistics.num_examples

  def spans(self, examples: np.ndarray) -> Spans:
    """Where the texts of examples [b] are."""
    queries = self.example_offsets[examples]
    num_positives = self.num_positives[examples].astype(np.int64)
    num_texts = self.example_offsets[examples + 1] - queries
    return Spans(queries, num_positives, num_texts - 1 - num_positives)

  def token_rows(self, texts: np.ndarray, length: int) -> np.ndarray:
    """Tokens of texts, int32 [*texts.shape, length], zeros behind each.

    Args:
      texts: indices of texts; -1 gives a row of zeros.
      length: of a row; no text may be longer.
    """
    flat = texts.reshape(-1)
    starts = self.text_offsets[flat]
    # From the last offset back to the first: less than no token for -1.
    sizes = self.text_offsets[flat + 1] - starts
    columns = np.arange(length)
    taken = columns < sizes[:, None]  # [texts, length]
    rows = np.zeros((flat.size, length), np.int32)
    rows[taken] = self.tokens[(starts[:, None] + columns)[taken]]
    return rows.reshape(*texts.shape, length)

  def texts(self, texts: np.ndarray) -> packing.Texts:
    """Where the tokens of texts [n] lie; -1 gives a text of none."""
    starts = self.text_offsets[texts]
    # From the last offset back to the first: less than no token for -1.
    sizes = np.maximum(self.text_offsets[texts + 1] - starts, 0)
    return packing.from_array(self.tokens, starts, sizes)

  def text_keys(self, texts: np.ndarray) -> np.ndarray:
    """Keys of texts, int32 [*texts.shape, 2]; both 0 where the text is -1."""
    return np.where(texts[..., None] < 0, np.int32(0), self.keys[texts])


def array_file(directory: pathlib.Path, name: str) -> pathlib.Path:
  return directory / f"{name}.bin"


def dtypes(vocab_size: int) -> dict[str, np.dtype]:
  """The arrays of a store, in the order in which its content is hashed."""
  return {
    "tokens": np.dtype("<u2" if vocab_size <= 2**16 else "<i4"),
    "text_offsets": np.dtype("<i8"),
    "keys": np.dtype("<i4"),
    "example_offsets": np.dtype("<i8"),
    "num_positives": np.dtype("<i4"),
  }


def load(directory: pathlib.Path) -> TokenStore:
  """Opens a store.

  Raises:
    ValueError: the folder holds no store, an array of it is not as long as the
      manifest says, or it has another format.
  """
  path = directory / MANIFEST_FILE
  try:
    manifest = json.loads(path.read_text())
  except (FileNotFoundError, NotADirectoryError):
    raise ValueError(
      f"{directory}: no token store: build it with `examples.open_tasks`"
    ) from None
  if manifest.get("format") != FORMAT:
    raise ValueError(
      f"{path}: format {manifest.get('format')}, this version reads {FORMAT}:"
      " delete the folder to have it built again"
    )
  statistics = Statistics(**manifest["statistics"])
  num_examples = statistics.num_examples
  num_texts = num_examples + statistics.num_passages
  shapes = {
    "tokens": (sum(statistics.num_tokens.values()),),
    "text_offsets": (num_texts + 1,),
    "keys": (num_texts, 2),
    "example_offsets": (num_examples + 1,),
    "num_positives": (num_examples,),
  }
  arrays = {
    name: _map(array_file(directory, name), dtype, shapes[name])
    for name, dtype in dtypes(manifest["vocab_size"]).items()
  }
  return TokenStore(
    directory=directory,
    content=manifest["content"],
    vocab_size=manifest["vocab_size"],
    lengths=manifest["lengths"],
    statistics=statistics,
    notes=tuple(manifest["notes"]),
    **arrays,
  )


def _map(
  path: pathlib.Path, dtype: np.dtype, shape: tuple[int, ...]
) -> np.ndarray:
  due = math.prod(shape) * dtype.itemsize
  came = path.stat().st_size if path.exists() else 0
  if came != due:
    raise ValueError(
      f"{path}: {came} bytes where {due} were due: the store is damaged,"
      " delete its folder to have it built again"
    )
  # The plain view spares numpy's memmap class its bookkeeping at every index.
  return np.memmap(path, dtype, mode="r", shape=shape).view(np.ndarray)
