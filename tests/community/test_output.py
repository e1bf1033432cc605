import json

from gtr_jax.community import output
from gtr_jax.community.tally import Tally
from gtr_jax.data.pair import Pair, parse_pair


def test_a_record_is_read_as_the_pair_it_was():
  for pair in (
    Pair("q", ("a",)),
    Pair("q", ("a", "b"), ("n",), "s/1", ("s/2", "s/3")),
  ):
    assert parse_pair(json.loads(json.dumps(output.record(pair)))) == pair


def test_names_of_files():
  assert output.file_name("a.b-c.com") == "a.b-c.com"
  # A first dot would hide the file.
  assert output.file_name(".a.com") == "_a.com"
  assert output.file_name("../a b/ü") == "_._a_b_ü"


def test_the_table_sorts_reasons_by_count():
  tally = Tally({"questions.in": 9, "pairs.out": 1})
  tally |= {"questions.left_out.a": 3, "questions.left_out.b": 5}
  assert [line.split() for line in output.table({"site": tally})] == [
    ["site:", "1", "pairs"],
    ["questions", "9", "in"],
    ["5", "left", "out:", "b"],
    ["3", "left", "out:", "a"],
  ]
