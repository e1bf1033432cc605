import numpy as np
import pytest

from gtr_jax.retrieval import ranking as ranking_lib


def ranking_of(
  positions, scores, query_ids=("q1", "q2"), corpus_ids=("a", "b", "c")
):
  return ranking_lib.Ranking(
    query_ids,
    corpus_ids,
    np.array(positions, np.int64),
    np.array(scores, np.float32),
  )


def test_a_run_comes_back(tmp_path):
  third = np.float32(1 / 3)
  written = ranking_of([[2, 0], [1, -1]], [[third, 0.1], [-5, -np.inf]])
  ranking_lib.write_run(tmp_path / "run.trec", written, tag="mine")
  assert (tmp_path / "run.trec").read_text() == (
    "q1 Q0 c 1 0.333333343 mine\n"
    "q1 Q0 a 2 0.100000001 mine\n"
    "q2 Q0 b 1 -5 mine\n"
  )
  read = ranking_lib.read_run(tmp_path / "run.trec")
  assert read.query_ids == ["q1", "q2"]
  for row in (0, 1):
    assert read.hits(row) == written.hits(row)
  assert read.passage_ids() == {"q1": ["c", "a"], "q2": ["b"]}


def test_scores_rank_and_ranks_break_ties(tmp_path):
  path = tmp_path / "run"
  path.write_text(
    "q Q0 a 1 0.5 t\nr Q0 a 1 1 t\nq Q0 b 3 0.9 t\nq\tQ0\tc\t2\t9e-1\tt\n"
  )
  assert ranking_lib.read_run(path).passage_ids() == {
    "q": ["c", "b", "a"],
    "r": ["a"],
  }


@pytest.mark.parametrize(
  ("line", "message"),
  [
    (b"q Q0 a 1 0.5\n", ":2: got 5 fields"),
    (b"q Q0 a b 1 0.5 t\n", ":2: got 7 fields"),
    (b"\nq Q0 a 2 0.1 t\n", ":2: a blank line"),
    (b"q Q0 a 1 high t\n", ":2: the score is 'high'"),
    (b"q Q0 a 1 nan t\n", ":2: the score is 'nan'"),
    (b"q Q0 a first 1 t\n", ":2: the rank is 'first'"),
    (b"q Q0 z 2 0.1 t\n", ":2: passage 'z' was ranked"),
    (b"q Q0 \xff 1 0.5 t\n", ":2: byte 0xff at column 6"),
  ],
)
def test_bad_lines(tmp_path, line, message):
  path = tmp_path / "run"
  path.write_bytes(b"q Q0 z 1 0.5 t\n" + line)
  with pytest.raises(ValueError, match=message):
    ranking_lib.read_run(path)


def test_an_empty_run(tmp_path):
  (tmp_path / "run").touch()
  with pytest.raises(ValueError, match="the run is empty"):
    ranking_lib.read_run(tmp_path / "run")


@pytest.mark.parametrize("name", ["two words", "", "tab\t", "a\u00a0b", "a\n"])
def test_ids_that_a_run_cannot_hold(tmp_path, name):
  path = tmp_path / "run"
  path.write_text("old")
  for ranking in (
    ranking_of([[0]], [[1]], query_ids=[name]),
    ranking_of([[0]], [[1]], query_ids=["q"], corpus_ids=[name]),
  ):
    with pytest.raises(ValueError, match="white space"):
      ranking_lib.write_run(path, ranking)
  assert path.read_text() == "old"
  assert [file.name for file in tmp_path.iterdir()] == ["run"]


def test_rows_must_fit():
  with pytest.raises(ValueError, match="2 query ids"):
    ranking_of([[0]], [[1.0]])
