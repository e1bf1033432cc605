import ml_dtypes
import numpy as np
import pytest

from gtr_jax.retrieval import exact


def definition(queries, passages, depth):
  """Scores in float64; highest first, then the lowest position."""
  scores = queries.astype(np.float64) @ passages.astype(np.float64).T
  order = np.argsort(-scores, axis=1, kind="stable")[:, :depth]
  return order, np.take_along_axis(scores, order, axis=1)


def small_integers(seed, shape, high=3):
  """Products of these are exact in float32, so ties are exact as well."""
  rng = np.random.default_rng(seed)
  return rng.integers(-high, high + 1, shape).astype(np.float32)


def unit_vectors(seed, shape):
  vectors = np.random.default_rng(seed).normal(size=shape)
  vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
  return vectors.astype(np.float32)


def index_of(passages, **arguments):
  ids = [f"p{position}" for position in range(len(passages))]
  return exact.ExactIndex(passages, ids, **arguments)


@pytest.mark.parametrize(
  ("block_rows", "resident_bytes"),
  [(1, 0), (2, 2**20), (7, 0), (36, 2**20), (37, 0), (1000, 2**20)],
)
def test_is_its_definition_with_many_ties(block_rows, resident_bytes):
  queries, passages = small_integers(0, (5, 4), 1), small_integers(1, (37, 4))
  index = index_of(
    passages, block_rows=block_rows, resident_bytes=resident_bytes
  )
  for depth in (1, 10, 37, 38):
    ranking = index.search(queries, depth)
    positions, scores = definition(queries, passages, depth)
    np.testing.assert_array_equal(ranking.positions, positions)
    np.testing.assert_array_equal(ranking.scores, scores)


@pytest.mark.parametrize(
  ("block_rows", "depth"),
  [(1, 5), (8, 1), (24, 40), (64, 1000), (1000, 5), (1000, 1000)],
)
def test_devices_change_nothing(mesh, block_rows, depth):
  queries, passages = small_integers(2, (3, 4), 1), small_integers(3, (300, 4))
  index = index_of(passages, block_rows=block_rows, mesh=mesh)
  ranking = index.search(queries, depth)
  positions, scores = definition(queries, passages, depth)
  np.testing.assert_array_equal(ranking.positions, positions)
  np.testing.assert_array_equal(ranking.scores, scores)


@pytest.mark.parametrize("num_queries", [0, 1, 2, 9, 100])
def test_groups_and_passes_of_queries_change_nothing(num_queries):
  queries, passages = small_integers(4, (100, 8)), small_integers(5, (50, 8))
  queries = queries[:num_queries]
  index = index_of(passages, query_rows=10, queries_per_pass=30)
  ranking = index.search(queries, 7)
  positions, scores = definition(queries, passages, 7)
  assert ranking.positions.shape == (num_queries, 7)
  np.testing.assert_array_equal(ranking.positions, positions)
  np.testing.assert_array_equal(ranking.scores, scores)


def test_unit_vectors_in_order_of_float64_up_to_float32_rounding():
  queries, passages = unit_vectors(6, (20, 96)), unit_vectors(7, (3000, 96))
  ranking = index_of(passages, block_rows=700).search(queries, 100)
  _, scores = definition(queries, passages, 100)
  np.testing.assert_allclose(ranking.scores, scores, atol=5e-7)
  chosen = np.einsum(
    "qd,qrd->qr", queries, passages[ranking.positions], dtype=np.float64
  )
  np.testing.assert_allclose(ranking.scores, chosen, atol=5e-7)
  assert all(len(set(row)) == 100 for row in ranking.positions)


@pytest.mark.parametrize("num_passages", [101, 1000])
def test_copies_of_a_passage_stay_in_order(mesh, num_passages):
  """Their scores round alike wherever in a block they stand."""
  passages = np.repeat(unit_vectors(8, (1, 768)), num_passages, axis=0)
  for devices in (None, mesh):
    index = index_of(passages, block_rows=128 * 8, mesh=devices)
    for num_queries in (1, 3):
      ranking = index.search(unit_vectors(9, (num_queries, 768)), 50)
      expected = np.tile(np.arange(50), (num_queries, 1))
      np.testing.assert_array_equal(ranking.positions, expected)


def test_negative_zero_is_zero():
  passages = np.array([[-1.0], [1.0]], np.float32)
  ranking = index_of(passages).search(np.zeros((1, 1), np.float32), 2)
  np.testing.assert_array_equal(ranking.positions, [[0, 1]])
  assert not np.signbit(ranking.scores).any()


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_half_precision_is_scored_in_float32(dtype):
  queries, passages = unit_vectors(10, (4, 64)), unit_vectors(11, (200, 64))
  passages = passages.astype(dtype)
  ranking = index_of(passages).search(queries, 20)
  _, scores = definition(queries, passages, 20)
  np.testing.assert_allclose(ranking.scores, scores, atol=5e-7)


def test_empty_corpus():
  ranking = index_of(np.zeros((0, 4), np.float32)).search(np.ones((2, 4)), 10)
  assert ranking.positions.shape == (2, 0)
  assert ranking.passage_ids() == {"0": [], "1": []}


def test_hits_carry_ids():
  ranking = index_of(np.eye(3, dtype=np.float32)).search(
    np.array([[0.0, 2.0, 1.0]], np.float32), 2, query_ids=["q"]
  )
  assert ranking.hits(0) == [("p1", 2.0), ("p2", 1.0)]
  assert ranking.passage_ids() == {"q": ["p1", "p2"]}


def test_reports_the_work():
  done = []
  index = index_of(
    small_integers(12, (37, 4)), block_rows=10, queries_per_pass=3
  )
  index.search(small_integers(13, (5, 4)), 2, report=done.append)
  assert sum(done) == 5 * 37
  assert len(done) == 8


def test_blocks_are_read_one_at_a_time():
  class Disk:
    shape = (1000, 4)
    longest = 0

    def __getitem__(self, rows):
      self.longest = max(self.longest, rows.stop - rows.start)
      return small_integers(14, self.shape)[rows]

  disk = Disk()
  index = exact.ExactIndex(disk, ["p"] * 1000, block_rows=10, resident_bytes=0)
  queries = small_integers(15, (2, 4))
  ranking = index.search(queries, 5)
  positions, _ = definition(queries, small_integers(14, (1000, 4)), 5)
  np.testing.assert_array_equal(ranking.positions, positions)
  assert disk.longest == 10


@pytest.mark.parametrize(
  ("queries", "depth", "message"),
  [
    (np.zeros((2, 3)), 1, r"due is \[Q, 4\]"),
    (np.zeros(4), 1, r"due is \[Q, 4\]"),
    (np.zeros((2, 4)), 0, "depth is 0"),
    (np.full((2, 4), np.nan), 1, "diverged"),
  ],
)
def test_bad_queries(queries, depth, message):
  with pytest.raises(ValueError, match=message):
    index_of(np.zeros((5, 4), np.float32)).search(queries, depth)


def test_bad_passages():
  passages = np.zeros((5, 4), np.float32)
  passages[3, 2] = np.nan
  with pytest.raises(ValueError, match="encode the corpus again"):
    index_of(passages).search(np.ones((1, 4), np.float32), 1)


def test_ids_must_fit():
  with pytest.raises(ValueError, match="2 ids"):
    exact.ExactIndex(np.zeros((3, 4), np.float32), ["a", "b"])
