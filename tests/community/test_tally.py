from gtr_jax.community import tally as tallies


def test_counts_by_name():
  tally = tallies.Tally()
  tallies.count_pair(tally, "a b c", ("d", "e f g h", ""))
  tallies.count_pair(tally, "a", ("d",))
  assert tallies.nested(tally) == {
    "answers": {"out": 4},
    "pairs": {"out": 2},
    "words": {
      "answer": {"total": 6, "from_0": 1, "from_1": 2, "from_4": 1},
      "query": {"total": 4, "from_1": 1, "from_2": 1},
    },
  }


def test_numbers_are_in_their_order():
  tally = tallies.Tally({"a.from_16": 1, "a.from_8": 2, "a.total": 3})
  assert list(tallies.nested(tally)["a"]) == ["total", "from_8", "from_16"]
