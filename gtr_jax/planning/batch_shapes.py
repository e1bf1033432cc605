"""Shapes of a batch, without data."""

import dataclasses
from collections.abc import Mapping

from gtr_jax.types import TowerName

Shapes = dict[str, tuple[int, ...]]


@dataclasses.dataclass(frozen=True)
class BatchSettings:
  """What decides the shapes of a batch; see `types.Batches`.

  Attributes:
    batch_size: queries of the global batch, B.
    num_negatives: hard negatives a query, K - 1.
    query_length: tokens of a query at most.
    passage_length: tokens of a passage at most.
    num_positives: known positives of a query, P.
  """

  batch_size: int
  num_negatives: int
  query_length: int
  passage_length: int
  num_positives: int = 1

  @property
  def num_passages(self) -> int:
    """Passages a query, K."""
    return 1 + self.num_negatives


def padded(settings: BatchSettings) -> Shapes:
  """One row a text."""
  return {
    "query_tokens": (settings.batch_size, settings.query_length),
    "passage_tokens": (
      settings.batch_size,
      settings.num_passages,
      settings.passage_length,
    ),
    **_keys(settings),
  }


@dataclasses.dataclass(frozen=True)
class Rows:
  """Packed rows of one tower.

  Attributes:
    per_share: rows of a device's share.
    length: L, tokens of a row.
    max_texts: S, slots of a row.
  """

  per_share: int
  length: int
  max_texts: int


def packed(
  settings: BatchSettings, rows: Mapping[TowerName, Rows], num_shares: int
) -> Shapes:
  """Several texts a row; see `types.Batches`.

  Args:
    settings: number of texts.
    rows: of both towers.
    num_shares: devices that share the batch.
  """
  shapes: Shapes = {}
  for tower, row in rows.items():
    num_rows = row.per_share * num_shares
    shapes[f"{tower}_rows"] = (num_rows, row.length)
    shapes[f"{tower}_segments"] = (num_rows, row.length)
    shapes[f"{tower}_texts"] = (num_rows, row.max_texts)
  return {**shapes, **_keys(settings)}


def _keys(settings: BatchSettings) -> Shapes:
  size = settings.batch_size
  return {
    "query_keys": (size, 2),
    "passage_keys": (size, settings.num_passages, 2),
    "positive_keys": (size, settings.num_positives, 2),
    "example_ids": (size,),
  }
