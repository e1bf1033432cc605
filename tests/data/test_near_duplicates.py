import random
import sys

import numpy as np
import pytest

from gtr_jax.data import near_duplicates

pytest.importorskip("rensa", reason="rensa is not installed: [data]")

WORDS = [f"{head}{tail}" for head in "bdfgklmnprst" for tail in "aeiou"]


def text_of(rng, num_words):
  return " ".join("".join(rng.choices(WORDS, k=3)) for _ in range(num_words))


def shingles(text):
  return {text[at : at + 5] for at in range(max(1, len(text) - 4))}


def jaccard(one, other):
  one, other = (shingles(near_duplicates.fold(text)) for text in (one, other))
  return len(one & other) / len(one | other)


def edited(rng, text, num_words):
  words = text.split()
  for place in rng.sample(range(len(words)), num_words):
    words[place] = text_of(rng, 1)
  return " ".join(words)


def test_case_punctuation_and_space_count_for_nothing():
  finder = near_duplicates.Finder()
  texts = [
    "How do I sort a list?",
    "How do I cook rice?",
    "HOW, do i\tsort a list",
    "Wie sortiere ich eine Liste?",
  ]
  assert finder.add(texts) == [-1, -1, 0, -1]


def test_numbers_count_over_calls():
  finder = near_duplicates.Finder()
  assert finder.add(["one text here", "another text there"]) == [-1, -1]
  assert finder.add(["a third, quite different"]) == [-1]
  assert finder.add(["another text there!"]) == [1]


def test_how_the_texts_are_dealt_to_calls_changes_nothing():
  rng = random.Random(1)
  texts = [text_of(rng, rng.randint(0, 40)) for _ in range(400)]
  texts += [edited(rng, text, len(text.split()) // 9) for text in texts]
  rng.shuffle(texts)
  whole = near_duplicates.Finder().add(texts)
  assert 100 < sum(number >= 0 for number in whole) < 300
  finder, found = near_duplicates.Finder(), []
  while texts:
    size = rng.randint(1, 90)
    found += finder.add(texts[:size])
    texts = texts[size:]
  assert found == whole


@pytest.mark.parametrize("threshold", [0.5, 0.6, 0.7, 0.8, 0.9])
def test_finds_what_the_definition_finds(threshold):
  rng = random.Random(2)
  texts, similar = [], []
  for _ in range(1500):
    text = text_of(rng, 40)
    texts += [text, edited(rng, text, rng.randint(0, 16))]
    similar.append(jaccard(*texts[-2:]))
  found = np.array(near_duplicates.Finder(threshold).add(texts))
  assert (found[::2] == -1).all()  # Nothing like the others.
  hit = found[1::2] == np.arange(0, len(texts), 2)
  similar = np.array(similar)
  # The estimate has a standard error of at most 0.044.
  assert hit[similar > min(threshold + 0.1, 0.97)].mean() > 0.97
  assert hit[similar < threshold - 0.1].mean() < 0.03
  assert hit[similar == 1].all()


def test_short_and_strange_texts():
  finder = near_duplicates.Finder()
  texts = [
    "",
    "?!",
    "...",
    "a",
    "A.",
    "b",
    "\ud800 x",
    "\0\0\0\0\0",
    "字",
    "字",
  ]
  assert finder.add(texts) == [-1, -1, -1, -1, 3, -1, -1, -1, -1, 8]
  assert finder.add([]) == []


def test_chains_name_the_first_that_is_similar():
  rng = random.Random(3)
  first = text_of(rng, 120)
  second = edited(rng, first, 8)
  third = edited(rng, second, 8)
  assert jaccard(first, second) > 0.81 and jaccard(second, third) > 0.81
  assert jaccard(first, third) < 0.75
  assert near_duplicates.Finder().add([first, second, third]) == [-1, 0, 1]


def test_a_long_text_is_compared_by_its_beginning():
  long = "0123456789" * near_duplicates.MAX_CHARACTERS
  finder = near_duplicates.Finder()
  assert finder.add([long, long + "the end"]) == [-1, 0]


@pytest.mark.parametrize("threshold", [0.49, 1.01])
def test_refuses_other_thresholds(threshold):
  with pytest.raises(ValueError, match="give 0.5 to 1"):
    near_duplicates.Finder(threshold)


def test_says_what_to_install(monkeypatch):
  monkeypatch.setitem(sys.modules, "rensa", None)
  with pytest.raises(ValueError, match=r"pip install 'gtr_jax\[data\]'"):
    near_duplicates.Finder()
