"""Expected false negatives against all batches that there are."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from gtr_jax.doctor import false_negatives as fn
from gtr_jax.losses import false_negatives as losses


def relation(queries, positives):
  """Of classes of queries, and of lists of classes of their positives."""
  return fn.Relation(
    np.array(queries),
    np.concatenate(positives),
    np.repeat(np.arange(len(queries)), [len(one) for one in positives]),
  )


def all_batches(positives, batch_size):
  """Every batch with every choice of positives, each with its chance."""
  subsets = list(itertools.combinations(range(len(positives)), batch_size))
  for batch in subsets:
    draws = list(itertools.product(*(positives[i] for i in batch)))
    for drawn in draws:
      yield batch, drawn, 1 / len(subsets) / len(draws)


def by_definition(queries, positives, batch_size):
  """Expected cells, and the expected share of queries with at least one."""
  known = {}
  for query, passages in zip(queries, positives, strict=True):
    known.setdefault(query, set()).update(passages)
  cells, share = 0.0, 0.0
  for batch, drawn, chance in all_batches(positives, batch_size):
    wrong = np.array(
      [[passage in known[queries[i]] for passage in drawn] for i in batch]
    )
    np.fill_diagonal(wrong, False)
    cells += chance * wrong.sum()
    share += chance * wrong.any(axis=1).mean()
  return cells, share


def masked_by_the_loss(queries, positives, batch_size):
  """Cells beside the diagonal that the loss leaves out, expected."""
  most = max(map(len, positives))
  keys = lambda values: jnp.stack([0 * values, values], axis=-1)
  total = 0.0
  for batch, drawn, chance in all_batches(positives, batch_size):
    known = np.zeros((batch_size, most), int)
    for row, i in enumerate(batch):
      known[row, : len(positives[i])] = np.array(positives[i]) + 1
    excluded = np.array(
      losses.excluded(
        keys(jnp.array([queries[i] for i in batch]) + 1),
        keys(jnp.array(drawn)[:, None] + 1),
        keys(jnp.array(known)),
      )
    )
    np.fill_diagonal(excluded, False)
    total += chance * excluded.sum()
  return total


def random_data(seed, num_pairs, most_positives):
  rng = np.random.default_rng(seed)
  queries = rng.integers(0, 4, num_pairs)
  positives = [
    rng.choice(5, rng.integers(1, most_positives + 1), replace=False)
    for _ in range(num_pairs)
  ]
  # Classes count from 0 without gaps, as `classes` makes them.
  queries = np.unique(queries, return_inverse=True)[1]
  flat = np.unique(np.concatenate(positives), return_inverse=True)[1]
  ends = np.cumsum([len(one) for one in positives])[:-1]
  return queries.tolist(), [one.tolist() for one in np.split(flat, ends)]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("batch_size", [1, 2, 3, 6])
def test_one_positive_against_all_batches(seed, batch_size):
  queries, positives = random_data(seed, 6, 1)
  data = relation(queries, positives)
  found = fn.expected(fn.count(data, data), batch_size)
  cells, share = by_definition(queries, positives, batch_size)
  assert found.cells == pytest.approx(cells)
  assert found.query_rate == pytest.approx(share)
  assert found.masked_cells == pytest.approx(
    masked_by_the_loss(queries, positives, batch_size)
  )


@pytest.mark.parametrize("seed", range(3))
def test_several_positives_against_all_batches(seed):
  queries, positives = random_data(seed, 5, 3)
  data = relation(queries, positives)
  found = fn.expected(fn.count(data, data), 3)
  assert found.cells == pytest.approx(by_definition(queries, positives, 3)[0])
  assert found.masked_cells == pytest.approx(
    masked_by_the_loss(queries, positives, 3)
  )


def test_the_loss_does_not_see_what_only_a_third_pair_tells():
  # Query 0 has both passages, on two lines; query 1 has the second passage.
  data = relation([0, 0, 1], [[0], [1], [1]])
  found = fn.expected(fn.count(data, data), 3)
  # (0,1) and (1,0) by query, (1,2) and (2,1) by passage; (0,2) by neither.
  assert (found.cells, found.masked_cells) == pytest.approx((5, 4))


def test_shuffles_agree_at_a_larger_size():
  rng = np.random.default_rng(0)
  num_pairs, batch_size, num_shuffles = 300, 40, 3000
  queries = np.unique(rng.zipf(1.8, num_pairs) % 97, return_inverse=True)[1]
  passages = np.unique(rng.integers(0, 150, num_pairs), return_inverse=True)[1]
  data = relation(queries.tolist(), [[one] for one in passages.tolist()])
  found = fn.expected(fn.count(data, data), batch_size)
  belongs = np.zeros((queries.max() + 1, passages.max() + 1), bool)
  belongs[queries, passages] = True
  counts = []
  for _ in range(num_shuffles):
    batch = rng.permutation(num_pairs)[:batch_size]
    wrong = belongs[queries[batch][:, None], passages[batch][None]]
    np.fill_diagonal(wrong, False)
    counts.append((wrong.sum(), wrong.any(axis=1).mean()))
  means = np.mean(counts, axis=0)
  errors = np.std(counts, axis=0) / np.sqrt(num_shuffles)
  assert abs(found.cells - means[0]) < 4 * errors[0]
  assert abs(found.query_rate - means[1]) < 4 * errors[1]


def test_nothing_is_expected_of_data_that_never_repeats():
  data = relation([0, 1, 2], [[0], [1], [2]])
  found = fn.expected(fn.count(data, data), 2)
  assert (found.cells, found.masked_cells, found.query_rate) == (0, 0, 0)
  assert found.worst_queries == []


def test_a_batch_larger_than_the_data_is_all_of_it():
  data = relation([0, 0], [[0], [1]])
  found = fn.expected(fn.count(data, data), 2048)
  assert (found.batch_size, found.cells, found.query_rate) == (2, 2, 1)


def test_the_worst_queries_come_first():
  data = relation([0, 1, 1, 2, 2, 2], [[n] for n in range(6)])
  assert fn.expected(fn.count(data, data), 2).worst_queries == [
    (2, 2.0),
    (1, 1.0),
  ]


def test_classes_join_rows_by_any_key():
  texts = np.array([7, 8, 7, 9, 5], np.uint64)
  ids = np.array([1, 2, 0, 2, 0], np.uint64)
  found = fn.classes(texts, ids)
  assert found[0] == found[2] and found[1] == found[3]
  assert sorted(set(found.tolist())) == [0, 1, 2]


def test_no_key_joins_nothing():
  assert len(set(fn.classes(np.zeros(4, np.uint64)).tolist())) == 4


@pytest.mark.parametrize("num_rows", [255, 256, 257, 70_000])
def test_classes_of_many_rows_keep_apart(num_rows):
  texts = np.arange(1, num_rows + 1, dtype=np.uint64)
  tokens = texts.copy()
  tokens[-1] = tokens[0]
  found = fn.classes(texts, tokens)
  assert len(np.unique(found)) == num_rows - 1
  assert found[-1] == found[0] == found.min()
  data = fn.Relation(found, found, np.arange(num_rows, dtype=found.dtype))
  expected = fn.expected(fn.count(data, data), num_rows)
  assert (expected.cells, expected.masked_cells) == pytest.approx((2, 2))
