"""BM25 against the figures of three collections."""

import pathlib

import pytest

from gtr_jax.evaluation import beir, bm25, evaluate

SHARED = pathlib.Path(__file__).parents[2] / "../shared/data/beir"


@pytest.mark.parametrize(
  "name, ndcg, recall",
  [
    ("stackfaq", 0.702, 0.962),
    ("scifact", 0.671, 0.919),
    pytest.param("squad_sent", 0.713, 0.920, marks=pytest.mark.slow),
  ],
)
def test_reproduces_known_figures(name, ndcg, recall):
  """Figures of ../shared/data/README.md."""
  if not (SHARED / name).is_dir():
    pytest.skip("../shared/data/beir is not here")
  collection = beir.read(SHARED / name)
  results = evaluate.measure(bm25.rank(collection, depth=101), collection)
  assert results.means["ndcg@10"] == pytest.approx(ndcg, abs=0.001)
  assert results.means["recall@100"] == pytest.approx(recall, abs=0.001)
