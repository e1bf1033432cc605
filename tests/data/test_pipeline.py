import itertools
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from gtr_jax import types
from gtr_jax.data import pipeline, token_store_writer, tokenization

EOS = 1
LENGTHS: dict[types.TowerName, int] = {"query": 4, "passage": 6}
ROOM = "gtr_jax.data"


def row(*ids):
  return np.array([*ids, EOS], np.int32)


def example(number, num_positives, num_negatives):
  """Tokens that say which text of which example they are.

  The query of example 7 is [107, 1]; passage 2 of it [107, 200 + 2, 1].
  """
  passages = [
    row(100 + number, 200 + passage)
    for passage in range(num_positives + num_negatives)
  ]
  return tokenization.TokenExample(
    [row(100 + number), *passages], num_positives, [None] * (1 + len(passages))
  )


def make_store(directory, shapes, name="f"):
  """A store whose example n has shapes[n] = (positives, negatives)."""
  examples = [example(n, *shape) for n, shape in enumerate(shapes)]
  chunk = tokenization.TokenChunk(examples, {"query": 0, "passage": 0})
  return token_store_writer.build(
    pathlib.Path(directory),
    name,
    [chunk.columns()],
    vocab_size=400,
    lengths=LENGTHS,
  )


@pytest.fixture
def store(tmp_path):
  shapes = itertools.islice(
    itertools.cycle([(1, 0), (3, 5), (2, 1), (1, 4)]), 25
  )
  return make_store(tmp_path, list(shapes))


def passages_of(batch, slots):
  """Passage numbers at these slots, -1 where there is none; [b, slots]."""
  return batch["passage_tokens"][:, slots, 1] - 200


def assert_same(first, second):
  assert first.keys() == second.keys()
  for name in first:
    np.testing.assert_array_equal(first[name], second[name], err_msg=name)


def test_a_batch_has_the_promised_shapes(store):
  batches = pipeline.PairBatches(store, 8, num_negatives=2, max_positives=4)
  as_protocol: types.Batches = batches
  batch = next(as_protocol)
  shapes = {name: (rows.shape, rows.dtype) for name, rows in batch.items()}
  assert shapes == {
    "query_tokens": ((8, 4), np.int32),
    "passage_tokens": ((8, 3, 6), np.int32),
    "query_keys": ((8, 2), np.int32),
    "passage_keys": ((8, 3, 2), np.int32),
    "positive_keys": ((8, 4, 2), np.int32),
    "example_ids": ((8,), np.int32),
  }


def test_rows_are_those_of_their_example(store):
  for batch in itertools.islice(
    pipeline.PairBatches(store, 10, num_negatives=3), 10
  ):
    numbers = batch["example_ids"]
    np.testing.assert_array_equal(
      batch["query_tokens"], [[100 + n, EOS, 0, 0] for n in numbers]
    )
    num_positives = store.num_positives[numbers]
    positive = passages_of(batch, 0)
    assert np.all((positive >= 0) & (positive < num_positives))
    negatives = passages_of(batch, slice(1, None))
    there = batch["passage_tokens"][:, 1:, 0] > 0
    assert np.all((negatives >= num_positives[:, None]) | ~there)
    own = batch["passage_tokens"][..., 0] == 100 + numbers[:, None]
    assert np.all(own[:, 1:] == there) and np.all(own[:, 0])


def test_a_missing_negative_is_zeros(tmp_path):
  store = make_store(tmp_path, [(1, 0), (1, 1), (1, 3)])
  batch = pipeline.PairBatches(
    store, 3, num_negatives=2, shuffle=False
  ).batch_at(0)
  there = np.array([[False, False], [True, False], [True, True]])
  for name in ("passage_tokens", "passage_keys"):
    np.testing.assert_array_equal(np.any(batch[name][:, 1:], axis=-1), there)
  assert not np.any(batch["passage_keys"][:, 1:][~there])


def test_positive_keys_are_of_all_known_positives(tmp_path):
  store = make_store(tmp_path, [(1, 0), (3, 0), (2, 0)])
  batches = pipeline.PairBatches(store, 3, shuffle=False)
  for batch in itertools.islice(batches, 6):
    keys = batch["positive_keys"]
    assert keys.shape == (3, 3, 2)
    np.testing.assert_array_equal(keys[:, 0], batch["passage_keys"][:, 0])
    for number, due in enumerate([1, 3, 2]):
      first = store.example_offsets[number] + 1
      known = store.keys[first : first + due]
      assert set(map(tuple, keys[number, :due])) == set(map(tuple, known))
      assert not keys[number, due:].any()


def test_the_positive_in_use_is_among_the_keys_kept(tmp_path):
  store = make_store(tmp_path, [(9, 0)] * 4)
  batches = pipeline.PairBatches(store, 4, max_positives=2)
  for batch in itertools.islice(batches, 9):
    assert batch["positive_keys"].shape == (4, 2, 2)
    np.testing.assert_array_equal(
      batch["positive_keys"][:, 0], batch["passage_keys"][:, 0]
    )


def test_every_epoch_has_every_example_once_and_none_is_dropped(store):
  batches = pipeline.PairBatches(store, 7)
  ids = np.concatenate([next(batches)["example_ids"] for _ in range(25)])
  epochs = ids.reshape(7, 25)  # 25 batches of 7 are 7 epochs of 25.
  np.testing.assert_array_equal(
    np.sort(epochs, axis=1), np.tile(np.arange(25), (7, 1))
  )
  assert len(np.unique(epochs, axis=0)) == 7


def test_the_stores_own_order(store):
  batches = pipeline.PairBatches(store, 10, shuffle=False)
  ids = np.concatenate([next(batches)["example_ids"] for _ in range(5)])
  np.testing.assert_array_equal(ids, np.tile(np.arange(25), 2))


def test_every_positive_has_its_turn(tmp_path):
  store = make_store(tmp_path, [(3, 0)] * 20)
  batches = pipeline.PairBatches(store, 20, shuffle=False)
  turns = np.stack(
    [passages_of(next(batches), 0) for _ in range(3)], axis=1
  )  # [examples, epochs]
  np.testing.assert_array_equal(np.sort(turns), np.tile([0, 1, 2], (20, 1)))
  assert len(set(turns[:, 0])) == 3  # Not all begin with the same one.


def test_every_negative_has_its_turn(tmp_path):
  store = make_store(tmp_path, [(1, 6)] * 20)
  batches = pipeline.PairBatches(store, 20, num_negatives=2, shuffle=False)
  turns = [passages_of(next(batches), slice(1, None)) for _ in range(6)]
  for start in (0, 3):  # Three epochs of two use all six.
    used = np.concatenate(turns[start : start + 3], axis=1)
    np.testing.assert_array_equal(
      np.sort(used), np.tile(np.arange(1, 7), (20, 1))
    )
  assert len(np.unique(turns[0], axis=0)) > 5


def test_no_negative_is_twice_in_a_row(store):
  batches = pipeline.PairBatches(store, 25, num_negatives=3)
  for batch in itertools.islice(batches, 10):
    for passages in batch["passage_tokens"]:
      there = [tuple(tokens) for tokens in passages if tokens.any()]
      assert len(set(there)) == len(there)


def test_seed_decides(store):
  first, same, other = (
    [
      pipeline.PairBatches(store, 5, num_negatives=1, seed=seed).batch_at(n)
      for n in range(4)
    ]
    for seed in (0, 0, 1)
  )
  for left, right in zip(first, same, strict=True):
    assert_same(left, right)
  assert any(
    np.any(left["example_ids"] != right["example_ids"])
    for left, right in zip(first, other, strict=True)
  )


@pytest.mark.parametrize("process_count", [1, 2, 4])
def test_processes_share_one_global_batch(store, process_count):
  whole = pipeline.PairBatches(store, 12, num_negatives=2, seed=3)
  parts = [
    pipeline.PairBatches(
      store,
      12,
      num_negatives=2,
      seed=3,
      process_index=index,
      process_count=process_count,
    )
    for index in range(process_count)
  ]
  for _ in range(7):  # Past three ends of an epoch.
    rows = [next(part) for part in parts]
    joined = {
      name: np.concatenate([part[name] for part in rows]) for name in rows[0]
    }
    assert_same(joined, next(whole))


def test_resuming_is_exact_anywhere(store):
  make = lambda: pipeline.PairBatches(store, 6, num_negatives=2, seed=11)
  whole = list(itertools.islice(make(), 40))
  for place in np.random.default_rng(0).integers(0, 39, 8).tolist():
    before = make()
    for _ in range(place):
      next(before)
    position = json.loads(json.dumps(before.position()))
    after = make()
    after.restore(position)
    assert after.position() == before.position()
    assert_same(next(after), whole[place])


@pytest.mark.parametrize(
  "changed, reason",
  [
    ({"seed": 1}, "seed 0, this run has 1"),
    ({"batch_size": 5}, "batch_size 4, this run has 5"),
    ({"shuffle": False}, "shuffle True, this run has False"),
  ],
)
def test_a_position_of_another_stream_is_refused(store, changed, reason):
  position = pipeline.PairBatches(store, 4).position()
  other = pipeline.PairBatches(store, **{"batch_size": 4, **changed})
  with pytest.raises(ValueError, match=reason):
    other.restore(position)


def test_a_position_in_other_data_is_refused(store, tmp_path):
  other = make_store(tmp_path / "other", [(1, 0)] * 25)
  with pytest.raises(ValueError, match="position in the data has data"):
    pipeline.PairBatches(other, 4).restore(
      pipeline.PairBatches(store, 4).position()
    )


def test_ids_of_a_past_batch(store):
  batches = pipeline.PairBatches(store, 12, process_index=1, process_count=2)
  ids = [next(batches)["example_ids"].tolist() for _ in range(3)]
  for number in range(3):
    whole = batches.ids_at(number)
    assert whole[6:] == ids[number] and len(whole) == 12


@pytest.mark.parametrize(
  "options, reason",
  [
    ({"batch_size": 26}, "25 pairs, fewer than one batch of 26"),
    ({"batch_size": 0}, "batch of 0"),
    ({"batch_size": 9, "process_count": 2}, "does not divide among 2"),
    ({"batch_size": 9, "passage_length": 5}, "passage_length is 5"),
    ({"batch_size": 9, "query_length": 3}, "query_length is 3"),
  ],
)
def test_what_cannot_be_batched_is_refused(store, options, reason):
  with pytest.raises(ValueError, match=reason):
    pipeline.PairBatches(store, **options)


def test_negatives_must_be_there_to_be_asked_for(tmp_path):
  store = make_store(tmp_path, [(1, 0)] * 4)
  with pytest.raises(ValueError, match="the data has none"):
    pipeline.PairBatches(store, 4, num_negatives=1)


def test_longer_rows_are_padded(store):
  batch = pipeline.PairBatches(
    store, 4, query_length=9, passage_length=7
  ).batch_at(0)
  assert batch["query_tokens"].shape == (4, 9)
  assert batch["passage_tokens"].shape == (4, 1, 7)
  assert not batch["query_tokens"][:, 4:].any()


def test_text_data_needs_no_tensorflow():
  """Everything but the SeqIO side, on a machine without TensorFlow."""
  files = ["sources", "vocabulary", "pipeline", "prefetch", "examples"]
  code = (
    "import importlib, sys\n"
    "sys.modules.update(tensorflow=None, seqio=None)\n"
    f"for name in {files}: importlib.import_module('{ROOM}.' + name)"
  )
  subprocess.run([sys.executable, "-c", code], check=True)
