import json
import os
import socket

import numpy as np
import pytest

from gtr_jax import types
from gtr_jax.data import token_store, token_store_writer, tokenization
from gtr_jax.data.pair import Pair

LENGTHS: dict[types.TowerName, int] = {"query": 4, "passage": 6}
EOS = 1


class Letters:
  """A tokenizer that anybody can follow: the ids of a text are its letters."""

  vocab_size = 128

  def encode(self, texts, length, tower):
    prompt = {"query": "?", "passage": ""}[tower]
    whole = [[ord(letter) for letter in prompt + text] for text in texts]
    rows = [np.array([*ids[: length - 1], EOS], np.int32) for ids in whole]
    return rows, sum(len(ids) >= length for ids in whole)


PAIRS = [
  Pair("ab", ("cd",)),
  Pair("abcdef", ("cd", "efghijk"), ("lm", "no"), "q1", ("p1", "p2"), None),
  Pair("x", ("yyyyy",), ("z",), None, None, ("n1",)),
]


def build(directory, pairs=PAIRS, fingerprint="f" * 64, **options):
  return token_store_writer.build(
    directory,
    fingerprint,
    tokenization.tokenize(iter(pairs), Letters(), LENGTHS),
    vocab_size=options.pop("vocab_size", Letters.vocab_size),
    lengths=LENGTHS,
    **options,
  )


def texts_of(store, example):
  first, last = store.example_offsets[example : example + 2]
  return [
    "".join(map(chr, row[row > EOS]))
    for row in store.token_rows(np.arange(first, last), 8)
  ]


def test_a_store_gives_back_what_was_put_in(tmp_path):
  store = build(tmp_path)
  assert len(store) == 3
  assert texts_of(store, 0) == ["?ab", "cd"]
  assert texts_of(store, 1) == ["?ab", "cd", "efghi", "lm", "no"]
  assert texts_of(store, 2) == ["?x", "yyyyy", "z"]
  np.testing.assert_array_equal(store.num_positives, [1, 2, 1])
  assert store.tokens.dtype == np.uint16


def test_rows_end_in_eos_and_are_padded(tmp_path):
  store = build(tmp_path)
  rows = store.token_rows(np.array([[0, -1], [2, 1]]), 5)
  assert rows.dtype == np.int32
  np.testing.assert_array_equal(
    rows,
    [
      [[ord("?"), ord("a"), ord("b"), EOS, 0], [0] * 5],
      [[ord("?"), ord("a"), ord("b"), EOS, 0], [ord("c"), ord("d"), EOS, 0, 0]],
    ],
  )


def test_statistics(tmp_path):
  assert build(tmp_path).statistics == token_store.Statistics(
    num_examples=3,
    num_passages=7,
    num_tokens={"query": 4 + 4 + 3, "passage": 3 + 3 + 6 + 3 + 3 + 6 + 2},
    num_cut={"query": 1, "passage": 1},
    max_positives=2,
    max_negatives=2,
  )


def test_keys_are_equal_where_id_or_tokens_are(tmp_path):
  store = build(
    tmp_path,
    [
      Pair("a", ("same",), (), "id", ("p",)),
      Pair("a", ("same", "other"), (), "id", ("r", "p")),
      Pair("b", ("other",), (), "jd"),
    ],
  )
  queries = store.text_keys(store.example_offsets[:3])
  same, same_too, other, other_too = store.text_keys(np.array([1, 3, 4, 6]))
  np.testing.assert_array_equal(queries[0], queries[1])
  assert not np.any(queries[0] == queries[2])
  assert same[1] == same_too[1] and same[0] != same_too[0]
  assert other[0] == same[0] and other[1] == other_too[1] != same[1]
  assert other_too[0] == 0  # No id.
  assert np.all(store.keys[:, 1] != 0)
  np.testing.assert_array_equal(store.text_keys(np.array([-1])), [[0, 0]])


def test_texts_that_are_cut_to_the_same_have_the_same_key(tmp_path):
  store = build(tmp_path, [Pair("abcd", ("p",)), Pair("abxy", ("p",))])
  assert store.keys[0, 1] == store.keys[2, 1]


def test_keys_are_the_same_on_every_machine():
  """BLAKE2b of four bytes, little endian, computed by b2sum of coreutils."""
  example = tokenization.TokenExample(
    [np.array([8774, 296, 1], np.int32)], 1, ["id"]
  )
  # printf 'id' | b2sum -l 32; printf '\x46\x22\0\0\x28\x01\0\0\1\0\0\0' | ...
  due = [
    int.from_bytes(bytes.fromhex(digest), "little", signed=True)
    for digest in ("1ecc3b95", "efcb287c")
  ]
  assert tokenization.keys(example) == [tuple(due)]


def test_many_chunks_make_the_same_store_as_one(tmp_path):
  chunks = list(tokenization.tokenize(iter(PAIRS), Letters(), LENGTHS))
  apart = [
    chunk
    for pair in PAIRS
    for chunk in tokenization.tokenize([pair], Letters(), LENGTHS)
  ]
  assert (len(chunks), len(apart)) == (1, 3)
  stores = [
    token_store_writer.build(
      tmp_path, name, given, vocab_size=128, lengths=LENGTHS
    )
    for name, given in (("a", chunks), ("b", apart))
  ]
  assert stores[0].content == stores[1].content
  assert texts_of(stores[1], 1) == texts_of(stores[0], 1)


def test_content_is_of_the_examples_alone(tmp_path):
  first = build(tmp_path, fingerprint="a")
  assert build(tmp_path, fingerprint="b").content == first.content
  assert build(tmp_path, PAIRS[:2], "c").content != first.content
  renamed = [PAIRS[0], PAIRS[1], Pair("x", ("yyyyy",), ("z",), "now an id")]
  assert build(tmp_path, renamed, "d").content != first.content


def test_large_vocabularies_are_kept_in_four_bytes(tmp_path):
  example = tokenization.TokenExample(
    [np.array([250_000, 1], np.int32)] * 2, 1, [None, None]
  )
  chunk = tokenization.TokenChunk([example], {"query": 0, "passage": 0})
  store = token_store_writer.build(
    tmp_path, "f", [chunk.columns()], vocab_size=250_112, lengths=LENGTHS
  )
  np.testing.assert_array_equal(
    store.token_rows(np.array([1]), 3), [[250_000, 1, 0]]
  )


def refuse():
  raise AssertionError("the examples were read though the store is there")
  yield


def test_a_store_is_built_once(tmp_path):
  build(tmp_path, notes=["one line was left out"])
  store = token_store_writer.build(
    tmp_path, "f" * 64, refuse(), vocab_size=128, lengths=LENGTHS
  )
  assert store.notes == ("one line was left out",)
  assert texts_of(store, 0) == ["?ab", "cd"]


def test_notes_may_come_while_the_store_is_built(tmp_path):
  notes = []

  def pairs():
    yield PAIRS[0]
    notes.append("said at the end")

  assert build(tmp_path, pairs(), notes=notes).notes == ("said at the end",)


def test_an_interrupted_build_leaves_nothing(tmp_path):
  def pairs():
    yield PAIRS[0]
    raise KeyboardInterrupt

  with pytest.raises(KeyboardInterrupt):
    build(tmp_path, pairs())
  assert not [name for name in os.listdir(tmp_path) if "lock" not in name]
  assert len(build(tmp_path)) == 3


def test_what_a_killed_build_left_is_removed(tmp_path):
  name = "f" * 24
  killed = tmp_path / f".{name}.{socket.gethostname()}.abc.tmp"
  killed.mkdir()
  (killed / "tokens.bin").write_bytes(b"half")
  assert len(build(tmp_path)) == 3
  assert not killed.exists()


def test_another_host_that_was_first_wins(tmp_path):
  def pairs():
    build(tmp_path / "other")
    os.rename(tmp_path / "other" / ("f" * 24), tmp_path / ("f" * 24))
    yield PAIRS[0]

  assert len(build(tmp_path, pairs())) == 3


@pytest.mark.parametrize(
  "row, positives, reason",
  [
    ([], 1, "no token"),
    ([5, 0, 1], 1, "0 is padding"),
    ([5, 128, 1], 1, "from 1 to 128"),
    ([5, 1], 0, "no positive"),
  ],
)
def test_bad_examples_are_refused(tmp_path, row, positives, reason):
  texts = [np.array(row, np.int32), np.array([5, 1], np.int32)]
  example = tokenization.TokenExample(texts, positives, [None, None])
  chunk = tokenization.TokenChunk([example], {"query": 0, "passage": 0})
  with pytest.raises(ValueError, match=reason):
    token_store_writer.build(
      tmp_path, "f", [chunk.columns()], vocab_size=128, lengths=LENGTHS
    )
  assert not (tmp_path / "f").exists()


def test_no_example_is_refused(tmp_path):
  with pytest.raises(ValueError, match="no example"):
    build(tmp_path, [])


def test_a_damaged_store_is_found_out(tmp_path):
  directory = build(tmp_path).directory
  tokens = directory / "tokens.bin"
  tokens.write_bytes(tokens.read_bytes()[:-2])
  with pytest.raises(ValueError, match="tokens.bin: .* damaged"):
    token_store.load(directory)


def test_what_is_no_store_is_refused(tmp_path):
  with pytest.raises(ValueError, match="no token store"):
    token_store.load(tmp_path)
  (tmp_path / "manifest.json").write_text(json.dumps({"format": 99}))
  with pytest.raises(ValueError, match="format 99"):
    token_store.load(tmp_path)


def test_a_fingerprint_is_of_all_facts():
  facts = {"a": 1, "b": {"c": [2, 3]}}
  same = {"b": {"c": [2, 3]}, "a": 1}
  other = {"a": 1, "b": {"c": [3, 2]}}
  fingerprint = token_store_writer.fingerprint_of
  assert fingerprint(facts) == fingerprint(same) != fingerprint(other)
