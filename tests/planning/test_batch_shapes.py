"""The shapes that a batch of the data's own pipeline has."""

from gtr_jax.data import packed, synthetic
from gtr_jax.planning import batch_shapes
from gtr_jax.types import TowerName

SETTINGS = batch_shapes.BatchSettings(
  batch_size=16, num_negatives=1, query_length=8, passage_length=32
)
SOURCE = synthetic.SyntheticBatches(
  batch_size=16, num_negatives=1, query_length=8, passage_length=32
)


def shapes_of(batch):
  return {name: array.shape for name, array in batch.items()}


def test_padded_is_what_a_pipeline_makes():
  assert batch_shapes.padded(SETTINGS) == shapes_of(SOURCE.batch_at(0))


def test_packed_is_what_a_pipeline_makes():
  batches = packed.PackedBatches(SOURCE, num_shares=4, row_multiple=2)
  rows: dict[TowerName, batch_shapes.Rows] = {
    tower: batch_shapes.Rows(shape.num_rows, shape.row_length, shape.max_texts)
    for tower, shape in batches.shapes.items()
  }
  made = batch_shapes.packed(SETTINGS, rows, num_shares=4)
  assert made == shapes_of(batches.batch_at(0))


def test_known_positives_have_room():
  settings = batch_shapes.BatchSettings(4, 0, 8, 32, num_positives=3)
  assert batch_shapes.padded(settings)["positive_keys"] == (4, 3, 2)
