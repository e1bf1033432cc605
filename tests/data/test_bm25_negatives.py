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
