import numpy as np
import pytest

from gtr_jax.data import bm25_negatives
from gtr_jax.data.documentation import Collection

ANSWER = "Parsing turns the text of a file into a tree of nodes."
DOCUMENTS = {
  "answer": ANSWER,
  "copy": f"Moreover: {ANSWER} Always.",
  "both": "Parsing trees is slow.",
  "one": "Only trees grow here, nothing else happens in this whole garden.",
  "none": "Sockets wait for a connection.",
}


def collection(queries):
  return Collection(
    DOCUMENTS, queries, {query_id: ("answer",) for query_id in queries}
  )


def test_negatives_are_close_but_neither_answers_nor_their_copies():
  queries = {"q": "parse a tree"}
  found = bm25_negatives.hard_negatives(collection(queries), 4, 0)
  assert found == {"q": ("both", "one")}


def test_the_best_can_be_passed_over():
  queries = {"q": "parse a tree"}
  found = bm25_negatives.hard_negatives(collection(queries), 4, 1)
  assert found == {"q": ("one",)}


@pytest.mark.parametrize("query", ["zebra", "the"])
def test_a_query_without_known_words_has_no_negatives(query):
  found = bm25_negatives.hard_negatives(collection({"q": query}), 4, 0)
  assert found == {"q": ()}


def definition(query, documents, k1=0.9, b=0.4):
  """Lucene's BM25 of documents given as lists of stems, in float64."""
  lengths = np.array([len(document) for document in documents], np.float64)
  scores = np.zeros(len(documents))
  for word in query:
    frequencies = np.array([document.count(word) for document in documents])
    num_with = np.count_nonzero(frequencies)
    idf = np.log1p((len(documents) - num_with + 0.5) / (num_with + 0.5))
    norm = k1 * (1 - b + b * lengths / lengths.mean())
    scores += idf * frequencies / (frequencies + norm)
  return scores


def test_order_is_that_of_the_definition():
  rng = np.random.default_rng(0)
  stems = [f"w{letter}x" for letter in "abcdefgh"]  # No stemmer changes them.
  drawn = [rng.choice(stems, size=rng.integers(2, 7)) for _ in range(30)]
  documents = [list(map(str, words)) for words in drawn]
  queries = [["wax", "wbx"], ["wcx"], ["wdx", "wex", "wfx"]]
  ids = [str(row) for row in range(30)]
  small = Collection(
    documents=dict(zip(ids, map(" ".join, documents), strict=True)),
    queries={str(i): " ".join(query) for i, query in enumerate(queries)},
    relevant={str(i): () for i in range(3)},
  )
  found = bm25_negatives.hard_negatives(small, 30, 0)
  for i, query in enumerate(queries):
    scores = np.array(definition(query, documents))
    expected = np.sort(scores[scores > 0])[::-1]
    np.testing.assert_allclose(
      scores[[int(n) for n in found[str(i)]]], expected, rtol=1e-4
    )
