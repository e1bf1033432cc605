"""Equal texts have equal keys; runs are those of whole words."""

import numpy as np

from gtr_jax.doctor import fingerprints

WORDS = [f"word{number}" for number in range(20)]


def test_plain_takes_off_what_makes_no_other_text():
  same = [
    "What is  Tea?",
    "what is tea",
    ' "What\tis TEA..."',
    "ｗhat is tea\n",
  ]
  assert {fingerprints.plain(text) for text in same} == {"what is tea"}


def test_plain_keeps_what_makes_another_text():
  different = ["C", "C++", "C#", "c d", "?!", "..."]
  assert len({fingerprints.plain(text) for text in different}) == len(different)


def test_keys_tell_texts_apart_and_are_never_0():
  keys = fingerprints.keys([b"", b"a", b"b", b"a"])
  assert keys[1] == keys[3] and len(set(keys.tolist())) == 3
  assert keys.dtype == np.uint64 and keys.all()
  assert fingerprints.keys([]).shape == (0,)


def test_runs_stay_within_a_text():
  first, second = " ".join(WORDS[:15]), " ".join(WORDS[5:])
  runs = fingerprints.runs([first, "too short", second])
  assert runs.texts.tolist() == [0, 0, 0, 2, 2, 2]
  assert runs.starts.tolist() == [0, 1, 2, 0, 1, 2]
  assert len(set(runs.keys.tolist())) == 6


def test_the_same_words_are_the_same_run():
  texts = [" ".join(WORDS[:13]), "before, " + ", ".join(WORDS[:13])]
  runs = fingerprints.runs(texts)
  assert runs.keys[0] == runs.keys[2] and runs.keys[0] != runs.keys[1]


def test_no_text_has_no_runs():
  for texts in ([], [""], ["one two"], ["one"] * 40):
    runs = fingerprints.runs(texts)
    assert len(runs.keys) == len(runs.texts) == len(runs.starts) == 0


def test_one_run_in_a_few_is_chosen_evenly():
  rng = np.random.default_rng(0)
  text = " ".join(map(str, rng.integers(0, 10**9, 4012)))
  kept = fingerprints.runs([text]).keys % np.uint64(4) == 0
  assert 900 < kept.sum() < 1100
