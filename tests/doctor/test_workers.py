"""No chunk is lost, whoever measures it."""

import pytest

from gtr_jax.data import vocabulary
from gtr_jax.data.pair import Pair
from gtr_jax.doctor import measurement, workers

TEXTS = ["green tea leaves", "coffee beans are ground", "milk and sugar"]


@pytest.fixture(scope="module")
def measure():
  tokenizer = vocabulary.train(TEXTS * 20, 300)
  return measurement.Measurement(tokenizer, {"query": 8, "passage": 8})


@pytest.mark.parametrize(
  "num_processes, num_chunks",
  [(0, 0), (0, 1), (0, 15), (0, 16), (0, 17), (0, 40), (1, 15), (1, 40)],
)
def test_every_chunk_comes_once_and_in_order(
  measure, tmp_path, num_processes, num_chunks
):
  chunks = [
    [Pair(f"query {number}", (TEXTS[number % 3],))]
    for number in range(num_chunks)
  ]
  found = list(workers.measured(measure, chunks, tmp_path, num_processes))
  assert [chunk for chunk, _ in found] == chunks
  for chunk, measured in found:
    assert measured.queries.text_keys == measure(chunk).queries.text_keys


def test_what_fails_in_a_process_is_told(measure, tmp_path):
  chunks = [[Pair("q", ("p",))]] * 20 + [[Pair("\udc00", ("p",))]]
  with pytest.raises(ValueError, match="surrogate"):
    list(workers.measured(measure, chunks, tmp_path, 1))
