"""Batches whose texts share rows: no padding is computed that a row can hold.

Each device's share of a batch is packed by itself, so that pooling needs no
communication.  Every batch has the same number of rows, a shape that compiles
once, found by packing the first batches by their lengths.  So that no share
needs many more rows than another, the pairs are dealt to them by length.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from jaxtyping import Int, Int32

from gtr_jax import packing
from gtr_jax.data.global_batch import GlobalBatch
from gtr_jax.types import HostBatch, TowerName

# Slots of a row, of which the fewest are taken that cost at most this share of
# rows: a slot without a text is a vector that is computed for nothing.
_SLOTS = (4, 8, 16, 32, 64, 128)
_SPARE_RATE = 1 / 50
# Batches that are packed to find the number of rows, and texts in them: of many
# texts, the need hardly varies.
_MOST_BATCHES, _MOST_TEXTS = 32, 2**19
_MARGIN = 1 / 128
# Steps of the ladder above the usual number of rows, doubling.
_FIRST_STEP = 1 / 16


class Source(Protocol):
  """Batches to pack, such as `PairBatches` and `SyntheticBatches`."""

  batch_size: int
  process_index: int
  process_count: int

  @property
  def lengths(self) -> Mapping[TowerName, int]:
    """Most tokens of a text."""
    ...

  def global_batch_at(self, number: int) -> GlobalBatch: ...
  def ids_at(self, number: int) -> list[int]: ...
  def describe(self) -> str: ...
  def position(self) -> dict[str, Any]: ...
  def restore(self, position: Mapping[str, Any]) -> None: ...


@dataclass(frozen=True)
class Shape:
  """The rows of one tower.

  Attributes:
    row_length: L, cells of a row.
    max_texts: S, texts of a row at most.
    num_rows: rows of a device's share.
    cells_used: tokens a cell, in the batches that were looked at.
    fewest_rows: of a batch that needs no more than half the rows, as batches of
      one task may; by halves, each a shape that is compiled.  None: `num_rows`.
  """

  row_length: int
  max_texts: int
  num_rows: int
  cells_used: float
  fewest_rows: int | None = None


@dataclass(eq=False)
class PackedBatches:
  """An endless stream of packed batches; satisfies `types.Batches`.

  A batch holds the pairs of the source's batch, each text once and uncut, in
  `query_rows`, `query_segments`, `query_texts` and so on instead of
  `query_tokens`; see `types.Batches`.  Their order depends on the number of
  shares, not on that of processes.  A batch that needs more rows than usual
  gets some more, on all processes alike: they know all lengths.

  Attributes:
    source: what is packed.
    num_shares: devices among which a batch is divided, of all processes.
    row_lengths: L by tower; None takes the source's longest text.  Longer rows
      hold more, but attention costs the square.
    row_multiple: the rows of a share are a multiple of it, such as the number
      of chunks in which they will be encoded.
    report: takes a line for the user, when a batch first needs more rows.
    shapes: of a usual batch.
  """

  source: Source
  num_shares: int = 1
  row_lengths: Mapping[TowerName, int] | None = None
  row_multiple: int = 1
  report: Callable[[str], None] = lambda line: None
  shapes: dict[TowerName, Shape] = field(init=False)
  _next: int = field(default=0, init=False)
  _reported: set[tuple[TowerName, int]] = field(default_factory=set, init=False)

  def __post_init__(self):
    _check(self)
    firsts = self._first_sizes()
    row_lengths = self.row_lengths or self.source.lengths
    self.shapes = {
      tower: _shape(
        [batch[tower] for batch in firsts],
        row_lengths[tower],
        self.row_multiple,
      )
      for tower in self.source.lengths
    }

  def __next__(self) -> HostBatch:
    batch = self.batch_at(self._next)
    self._next += 1
    return batch

  def position(self) -> dict[str, Any]:
    return {**self.source.position(), "batches": self._next}

  def restore(self, position: Mapping[str, Any]) -> None:
    self.source.restore(position)
    self._next = int(position["batches"])

  def batch_at(self, number: int) -> HostBatch:
    """This process's shares of batch `number`, counted from 0."""
    whole = self.source.global_batch_at(number)
    whole = deal(whole, self.num_shares)
    batch: HostBatch = {}
    for tower, shape in self.shapes.items():
      batch |= self._pack(tower, shape, whole.texts[tower])
    size = self.source.batch_size // self.source.process_count
    first = self.source.process_index * size
    return {**batch, **whole.others(first + np.arange(size))}

  def ids_at(self, number: int) -> list[int]:
    """Example ids of the whole global batch `number`."""
    return self.source.ids_at(number)

  def describe(self) -> str:
    """For people: what is packed, the rows, and how full they are."""
    rows = ", ".join(
      f"{tower} {shape.num_rows:,} rows of {shape.row_length} tokens"
      f" {shape.cells_used:.0%} full"
      for tower, shape in self.shapes.items()
    )
    return f"{self.source.describe()} packed (a device: {rows})"

  def _pack(
    self, tower: TowerName, shape: Shape, texts: packing.Texts
  ) -> HostBatch:
    row_length, max_texts = shape.row_length, shape.max_texts
    sizes = texts.sizes.reshape(self.num_shares, -1)
    num_own = self.num_shares // self.source.process_count
    first = self.source.process_index * num_own
    own = range(first, first + num_own)
    slots = [packing.place(sizes[at], row_length, max_texts) for at in own]
    needed = max(
      *map(len, slots),
      *(
        packing.count_rows(sizes[at], row_length, max_texts)
        for at in range(self.num_shares)
        if at not in own
      ),
      0,
    )
    num_rows = self._rung(tower, shape, needed)
    in_share = np.stack([_with_rows(share, num_rows) for share in slots])
    firsts = sizes.shape[1] * np.array(own)[:, None, None]
    in_batch = np.where(in_share < 0, -1, in_share + firsts)
    rows, segments = packing.fill(
      texts, in_batch.reshape(-1, max_texts), row_length
    )
    return {
      f"{tower}_rows": rows,
      f"{tower}_segments": segments,
      f"{tower}_texts": in_share.reshape(-1, max_texts),
    }

  def _rung(self, tower: TowerName, shape: Shape, needed: int) -> int:
    usual = shape.num_rows
    num_rows = rung(
      usual, max(needed, shape.fewest_rows or usual), self.row_multiple
    )
    if num_rows > usual and (tower, num_rows) not in self._reported:
      self._reported.add((tower, num_rows))
      self.report(
        f"a batch needs {needed:,} {tower} rows a device instead of {usual:,}:"
        f" batches like it get {num_rows:,}, a shape that is compiled once more"
      )
    return num_rows

  def _first_sizes(self) -> list[dict[TowerName, Int[np.ndarray, "shares n"]]]:
    """Lengths of the texts of each share, of the first few batches."""
    first = self._sizes_at(0)
    num_texts = sum(sizes.size for sizes in first.values())
    num_batches = np.clip(_MOST_TEXTS // num_texts, 1, _MOST_BATCHES)
    return [first, *map(self._sizes_at, range(1, num_batches))]

  def _sizes_at(
    self, number: int
  ) -> dict[TowerName, Int[np.ndarray, "shares n"]]:
    whole = deal(self.source.global_batch_at(number), self.num_shares)
    return {
      tower: texts.sizes.reshape(self.num_shares, -1)
      for tower, texts in whole.texts.items()
    }


def deal(batch: GlobalBatch, num_shares: int) -> GlobalBatch:
  """The batch in an order whose equal shares hold about equally many tokens.

  The pairs are dealt from the longest passages to the shortest, each round in
  the opposite direction; a share keeps the order that its pairs had.
  """
  if num_shares == 1:
    return batch
  num_queries = len(batch.texts["query"])
  passages = np.arange(len(batch.texts["passage"])).reshape(num_queries, -1)
  tokens = batch.texts["passage"].sizes[passages].sum(axis=1)
  rounds = np.argsort(-tokens, kind="stable").reshape(-1, num_shares)
  rounds[1::2] = rounds[1::2, ::-1].copy()
  order = np.sort(rounds.T, axis=1).reshape(-1)  # [B]
  return GlobalBatch(
    texts={
      "query": batch.texts["query"][order],
      "passage": batch.texts["passage"][passages[order].reshape(-1)],
    },
    others=lambda part: batch.others(order[part]),
  )


def rung(usual: int, needed: int, multiple: int = 1) -> int:
  """Rows of a batch that needs so many: the usual number, or one of few."""
  num_rows, step = usual, _FIRST_STEP
  while (half := _round_up(num_rows / 2, multiple)) < num_rows:
    if half < needed:
      break
    num_rows = half
  while num_rows < needed:
    num_rows = _round_up(usual + step * usual, multiple)
    step *= 2
  return num_rows


def _shape(
  batches: list[Int[np.ndarray, "shares n"]], row_length: int, multiple: int
) -> Shape:
  """Rows that would have done for all of these batches."""
  max_texts = _max_texts(batches[0], row_length)
  needed = [
    max(packing.count_rows(share, row_length, max_texts) for share in sizes)
    for sizes in batches
  ]
  # A row a text always does.
  spared = [
    min(rows + int(rows * _MARGIN), batches[0].shape[1]) for rows in needed
  ]
  num_rows = _round_up(max(*spared, 1), multiple)
  taken = [rung(num_rows, rows, multiple) for rows in spared]
  cells = len(batches[0]) * sum(taken) * row_length
  tokens = sum(int(sizes.sum()) for sizes in batches)
  return Shape(row_length, max_texts, num_rows, tokens / cells, min(taken))


def _max_texts(sizes: Int[np.ndarray, "shares n"], row_length: int) -> int:
  def count(max_texts: int) -> int:
    return sum(
      packing.count_rows(share, row_length, max_texts) for share in sizes
    )

  enough = count(row_length) * (1 + _SPARE_RATE)
  for max_texts in _SLOTS:
    if max_texts >= row_length or count(max_texts) <= enough:
      return max_texts
  return row_length


def _with_rows(
  slots: Int32[np.ndarray, "_ S"], num_rows: int
) -> Int32[np.ndarray, "r S"]:
  missing = num_rows - len(slots)
  return np.pad(slots, ((0, missing), (0, 0)), constant_values=-1)


def _round_up(number: float, multiple: int) -> int:
  return int(np.ceil(number / multiple)) * multiple


def _check(batches: PackedBatches) -> None:
  source, num_shares = batches.source, batches.num_shares
  if num_shares % source.process_count or source.batch_size % num_shares:
    raise ValueError(
      f"the global batch of {source.batch_size} pairs does not divide among"
      f" {num_shares} devices of {source.process_count} processes: choose a"
      " multiple as BATCH_SIZE"
    )
  for tower, row_length in (batches.row_lengths or {}).items():
    if row_length < source.lengths[tower]:
      raise ValueError(
        f"packed {tower} rows have {row_length} tokens, a text up to"
        f" {source.lengths[tower]}: make the rows as long or longer"
      )
