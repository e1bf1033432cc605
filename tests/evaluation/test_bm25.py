"""BM25 against the figures of three collections."""

import pytest

from gtr_jax.evaluation import beir, bm25, evaluate


@pytest.mark.parametrize(
  "name, ndcg, recall",
  [
    ("stackfaq", 0.702, 0.962),
    ("scifact", 0.671, 0.919),
    pytest.param("squad_sent", 0.713, 0.920, marks=pytest.mark.slow),
  ],
)
def test_reproduces_known_figures(shared_data, name, ndcg, recall):
  """Figures of ../shared/data/README.md."""
  collection = beir.read(shared_data / "beir" / name)
  results = evaluate.measure(bm25.rank(collection, depth=101), collection)
  assert results.means["ndcg@10"] == pytest.approx(ndcg, abs=0.001)
  assert results.means["recall@100"] == pytest.approx(recall, abs=0.001)
