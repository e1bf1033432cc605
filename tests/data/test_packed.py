import itertools
import json
import pathlib

import numpy as np
import pytest

from gtr_jax import types
from gtr_jax.data import (
  mixture,
  packed,
  pipeline,
  synthetic,
  token_store_writer,
  tokenization,
)

LENGTHS: dict[types.TowerName, int] = {"query": 8, "passage": 32}
SIZE = 16


def make_store(directory, num_examples=64, seed=0):
  """Examples of 1 to 3 positives, 0 to 3 negatives, texts of 1 to L tokens."""
  rng = np.random.default_rng(seed)

  def text(tower):
    size = rng.integers(1, LENGTHS[tower] + 1)
    return rng.integers(3, 400, size).astype(np.int32)

  examples = []
  for _ in range(num_examples):
    num_positives, num_negatives = map(int, rng.integers([1, 0], 4))
    passages = [text("passage") for _ in range(num_positives + num_negatives)]
    examples.append(
      tokenization.TokenExample(
        [text("query"), *passages], num_positives, [None] * (1 + len(passages))
      )
    )
  chunk = tokenization.TokenChunk(examples, {"query": 0, "passage": 0})
  return token_store_writer.build(
    pathlib.Path(directory),
    "f",
    [chunk.columns()],
    vocab_size=400,
    lengths=LENGTHS,
  )


@pytest.fixture(scope="module")
def store(tmp_path_factory):
  return make_store(tmp_path_factory.mktemp("store"))


def pairs(store, **options):
  return pipeline.PairBatches(store, SIZE, num_negatives=2, **options)


def made_up(**options):
  return synthetic.SyntheticBatches(
    **{
      "batch_size": SIZE,
      "num_negatives": 1,
      "query_length": 8,
      "passage_length": 32,
      "mean_passage_tokens": 12,
      **options,
    }
  )


def padded(batch, tower, num_shares, num_texts, length):
  """The texts of packed rows, read a text at a time, as padded rows."""
  tokens = np.zeros((num_shares, num_texts, length), np.int32)
  names = (f"{tower}_{part}" for part in ("rows", "segments", "texts"))
  shares = [np.split(batch[name], num_shares) for name in names]
  for share, (rows, segments, texts) in enumerate(zip(*shares, strict=True)):
    for row, slot in np.argwhere(texts >= 0):
      text = rows[row][segments[row] == slot + 1]
      number = texts[row, slot]
      assert len(text) and not tokens[share, number].any()
      tokens[share, number, : len(text)] = text
  return tokens.reshape(num_shares * num_texts, length)


def assert_holds(batch, unpacked, num_shares):
  """A packed batch has all that an unpacked one has, and where it should."""
  # No example is twice in a batch of these tests.
  order = [
    np.flatnonzero(unpacked["example_ids"] == example).item()
    for example in batch["example_ids"]
  ]
  assert sorted(order) == list(range(len(unpacked["example_ids"])))
  unpacked = {name: array[order] for name, array in unpacked.items()}
  for tower in ("query", "passage"):
    due = unpacked[f"{tower}_tokens"]
    rows = due.reshape(-1, due.shape[-1])
    came = padded(
      batch, tower, num_shares, len(rows) // num_shares, rows.shape[1]
    )
    np.testing.assert_array_equal(came, rows)
  others = {name for name in unpacked if not name.endswith("_tokens")}
  for name in others:
    np.testing.assert_array_equal(batch[name], unpacked[name])
  assert batch.keys() == others | {
    f"{tower}_{part}"
    for tower in ("query", "passage")
    for part in ("rows", "segments", "texts")
  }


@pytest.mark.parametrize("num_shares", [1, 2, 8])
def test_holds_the_texts_of_the_unpacked_batch(store, num_shares):
  for source in (pairs(store), made_up()):
    batches: types.Batches = packed.PackedBatches(source, num_shares)
    for number in range(8):
      assert_holds(next(batches), source.batch_at(number), num_shares)


def test_batches_have_one_shape_and_the_promised_types(store):
  batches = packed.PackedBatches(pairs(store), 4)
  query, passage = batches.shapes["query"], batches.shapes["passage"]
  due = {}
  for name, shape in (("query", query), ("passage", passage)):
    num_rows = 4 * shape.num_rows
    due[f"{name}_rows"] = (num_rows, shape.row_length)
    due[f"{name}_segments"] = (num_rows, shape.row_length)
    due[f"{name}_texts"] = (num_rows, shape.max_texts)
  assert (query.row_length, passage.row_length) == (8, 32)
  for batch in itertools.islice(iter(batches.__next__, None), 8):
    assert all(array.dtype == np.int32 for array in batch.values())
    for name, shape in due.items():
      assert batch[name].shape == shape


@pytest.mark.parametrize("process_count", [2, 4])
def test_processes_share_one_global_batch(store, process_count):
  for make in (lambda **own: pairs(store, **own), made_up):
    whole = packed.PackedBatches(make(), 8)
    parts = [
      packed.PackedBatches(
        make(process_index=index, process_count=process_count), 8
      )
      for index in range(process_count)
    ]
    assert all(part.shapes == whole.shapes for part in parts)
    # A small budget, so that some batches need more rows.
    for batches in (whole, *parts):
      batches.shapes["passage"] = packed.Shape(32, 4, 2, 1.0)
    heights = set()
    for number in range(8):
      due = whole.batch_at(number)
      heights.add(len(due["passage_rows"]))
      came = [part.batch_at(number) for part in parts]
      for name, array in due.items():
        np.testing.assert_array_equal(
          np.concatenate([batch[name] for batch in came]), array
        )
    assert len(heights) > 1


def test_a_batch_that_needs_more_rows_gets_them_and_says_so_once(store):
  said = []
  source = pairs(store)
  batches = packed.PackedBatches(source, 2, report=said.append)
  batches.shapes["query"] = packed.Shape(8, 4, 1, 1.0)
  for number in range(12):
    assert_holds(batches.batch_at(number), source.batch_at(number), 2)
  assert 1 <= len(said) <= 3 and len(set(said)) == len(said)
  assert "query rows a device instead of 1: batches like it get" in said[0]


def test_one_share_keeps_the_order(store):
  batch = packed.PackedBatches(pairs(store)).batch_at(3)
  due = pairs(store).batch_at(3)["example_ids"]
  np.testing.assert_array_equal(batch["example_ids"], due)


def test_shares_are_dealt_about_equally_many_tokens():
  source = synthetic.SyntheticBatches(512, 1, vocab_size=100)
  for number in range(5):
    dealt = packed.deal(source.global_batch_at(number), 16)
    tokens = dealt.texts["passage"].sizes.reshape(16, -1).sum(axis=1)
    assert tokens.max() < 1.03 * tokens.mean()


def test_the_ladder_is_short():
  for usual in (1, 7, 100, 2112):
    assert packed.rung(usual, usual) == usual
    rungs = {packed.rung(usual, needed) for needed in range(usual, usual * 4)}
    assert len(rungs) <= 9
    for needed in range(usual, usual * 2):
      assert (
        needed
        <= packed.rung(usual, needed)
        < 1.07 * usual + 2 * (needed - usual + 1)
      )
  assert packed.rung(16, 17, multiple=8) == 24
  assert [packed.rung(100, needed) for needed in (51, 50, 26, 25, 24, 0)] == [
    100, 50, 50, 25, 25, 1
  ]  # fmt: skip
  assert packed.rung(48, 10, multiple=8) == 16


def test_rows_come_in_multiples(store):
  batches = packed.PackedBatches(pairs(store), 2, row_multiple=4)
  assert all(shape.num_rows % 4 == 0 for shape in batches.shapes.values())
  batches.shapes["passage"] = packed.Shape(32, 4, 4, 1.0)
  assert len(batches.batch_at(0)["passage_rows"]) % 8 == 0


def test_most_cells_are_used():
  source = synthetic.SyntheticBatches(batch_size=1024, vocab_size=100)
  batches = packed.PackedBatches(source)
  batch = batches.batch_at(40)  # None of those that were looked at.
  for tower, shape in batches.shapes.items():
    used = (batch[f"{tower}_segments"] > 0).mean()
    assert used > 0.92
    assert abs(used - shape.cells_used) < 0.05
    assert f"{tower} {shape.num_rows:,} rows of" in batches.describe()


def test_batches_of_one_task_have_the_rows_of_their_lengths(tmp_path):
  """Short texts do not get the rows of long ones, in few shapes."""
  parts = []
  for name, length in (("long", 32), ("short", 5)):
    row = np.array([*[40 + length] * (length - 1), 1], np.int32)
    example = tokenization.TokenExample([row, row], 1, [None, None])
    chunk = tokenization.TokenChunk([example] * 64, {"query": 0, "passage": 0})
    lengths: dict[types.TowerName, int] = {"query": 32, "passage": 32}
    made = token_store_writer.build(
      tmp_path, name, [chunk.columns()], vocab_size=400, lengths=lengths
    )
    parts.append(mixture.Part(name, made))
  mixed = mixture.Mixture(parts, homogeneous=True)
  batches = packed.PackedBatches(pipeline.PairBatches(mixed, 32), 2)
  rows = [len(next(batches)["passage_rows"]) for _ in range(40)]
  assert set(rows) == {32, 8}  # Of 5 tokens 6 fit a row: 3 rows a share, 4.
  assert batches.shapes["passage"].cells_used > 0.85


def test_longer_rows_are_taken_and_shorter_refused(store):
  row_lengths: dict[types.TowerName, int] = {"query": 16, "passage": 64}
  batches = packed.PackedBatches(pairs(store), row_lengths=row_lengths)
  assert_holds(batches.batch_at(0), pairs(store).batch_at(0), 1)
  assert batches.batch_at(0)["passage_rows"].shape[1] == 64
  with pytest.raises(ValueError, match="16 tokens, a text up to 32"):
    packed.PackedBatches(pairs(store), row_lengths={"query": 8, "passage": 16})


def test_devices_must_divide_the_batch(store):
  with pytest.raises(ValueError, match="16 pairs does not divide among 3"):
    packed.PackedBatches(pairs(store), 3)
  with pytest.raises(ValueError, match="1 devices of 2 processes"):
    packed.PackedBatches(pairs(store, process_count=2), 1)


def test_resuming_is_exact(store):
  batches = packed.PackedBatches(pairs(store), 2)
  for _ in range(3):
    next(batches)
  position = json.loads(json.dumps(batches.position()))
  due = [next(batches) for _ in range(3)]
  again = packed.PackedBatches(pairs(store), 2)
  again.restore(position)
  for batch in due:
    came = next(again)
    for name, array in batch.items():
      np.testing.assert_array_equal(came[name], array)


def test_packed_and_unpacked_streams_have_the_same_places(store):
  batches, source = packed.PackedBatches(pairs(store), 2), pairs(store)
  next(batches)
  source.restore(batches.position())
  assert_holds(next(batches), next(source), 2)
  with pytest.raises(ValueError, match="has seed 0, this run has 1"):
    packed.PackedBatches(pairs(store, seed=1)).restore(source.position())
