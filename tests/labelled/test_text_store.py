"""Every id finds its own text, whatever the hashes; stores are made once."""

import random

import numpy as np
import pytest

from gtr_jax.files import lines
from gtr_jax.labelled import text_store, text_store_writer
from gtr_jax.labelled.ledger import Ledger
from gtr_jax.labelled.text_store import Entry

FILE = "corpus.tsv"


def build(
  tmp_path,
  entries,
  on_bad_line: lines.OnBadLine = "error",
  repeat=False,
  facts=(),
):
  notes = []
  ledger = Ledger(on_bad_line, notes.append)
  source = text_store_writer.Source(
    [FILE], {"facts": list(facts)}, lambda _: iter(entries), repeat
  )
  return text_store_writer.build(tmp_path, source, ledger), ledger, notes


def random_entries(count):
  rng = random.Random(0)
  letters = "aé中\n\t\0 "
  return [
    Entry(
      f"id{number}" if number % 2 else str(number),
      "".join(rng.choices(letters, k=rng.randrange(3))),
      "".join(rng.choices(letters, k=rng.randrange(30))),
      0,
      number + 1,
    )
    for number in range(count)
  ]


def check(store, entries):
  order = random.Random(1).sample(entries, len(entries))
  assert store.find([entry.id for entry in order]) == order
  assert store.find(["1", "nobody", ""]) == [None, None, None]
  assert list(store) == entries
  assert store.rows([entry.id for entry in entries]).tolist() == list(
    range(len(entries))
  )


def test_finds_what_was_put_in(tmp_path):
  entries = random_entries(300)
  store, _, _ = build(tmp_path, entries)
  check(store, entries)
  assert store.place(entries[4]) == "corpus.tsv:5"


def test_equal_hashes_do_no_harm(tmp_path, monkeypatch):
  # Four hashes for all ids.
  monkeypatch.setattr(
    text_store, "digest", lambda content: bytes([len(content) % 4] * 8)
  )
  entries = random_entries(60)
  store, _, _ = build(tmp_path, entries)
  check(store, entries)


def test_hashes_are_the_same_everywhere():
  # BLAKE2b of 8 bytes, little-endian; by `b2sum -l 64`.
  assert text_store.hashes([b"abc"]) == np.frombuffer(
    bytes.fromhex("d8bb14d833d59559"), "<u8"
  )


def test_a_store_is_made_once(tmp_path):
  store, _, _ = build(tmp_path, [Entry("a", "", "x", 0, 1)])
  again, _, _ = build(tmp_path, ["is not looked at"])
  assert again.find(["a"]) == store.find(["a"])
  other, _, _ = build(tmp_path, [Entry("a", "", "y", 0, 1)], facts=["other"])
  assert other.directory != store.directory


def test_a_store_is_found_by_another_name_of_its_file(tmp_path):
  build(tmp_path, [Entry("a", "", "x", 0, 3)])
  source = text_store_writer.Source(
    ["./corpus.tsv"], {"facts": []}, lambda _: ()
  )
  store = text_store_writer.build(tmp_path, source, Ledger())
  (entry,) = store
  assert store.place(entry) == "./corpus.tsv:3"


def test_a_repeated_id_is_refused(tmp_path):
  entries = [Entry(name, "", name, 0, n) for n, name in enumerate("abca", 1)]
  with pytest.raises(lines.BadLineError) as error:
    build(tmp_path, entries)
  assert str(error.value).startswith(
    "corpus.tsv:4: the id 'a' is taken by corpus.tsv:1"
  )
  assert not [path for path in tmp_path.iterdir() if path.suffix != ".lock"]


@pytest.mark.parametrize("collide", [False, True])
def test_a_repeated_id_is_counted_when_asked(tmp_path, monkeypatch, collide):
  if collide:
    monkeypatch.setattr(text_store, "digest", lambda content: bytes(8))
  entries = [
    Entry(name, "", f"{name}{n}", 0, n) for n, name in enumerate("abcaba", 1)
  ]
  for _ in range(2):  # Built, and found again.
    store, ledger, notes = build(tmp_path, entries, "skip")
    assert [entry.text for entry in store] == ["a1", "b2", "c3"]
    assert [e.text for e in store.find(["b", "a"]) if e] == ["b2", "a1"]
    assert ledger.left_out == {"repeated_id": 3}
    (note,) = notes
    assert note.startswith("left out: repeated_id 3, first: corpus.tsv:")


def test_a_relation_keeps_all_in_order(tmp_path):
  entries = [Entry("qp"[n % 2], str(n), f"t{n}", 0, n) for n in range(9)]
  store, _, _ = build(tmp_path, entries, repeat=True)
  found = store.find_all(["p", "nobody", "q"])
  assert [[e.title for e in row] for row in found] == [
    ["1", "3", "5", "7"],
    [],
    ["0", "2", "4", "6", "8"],
  ]


def test_an_empty_store(tmp_path):
  store, _, _ = build(tmp_path, [])
  assert len(store) == 0 and store.find(["a"]) == [None]


@pytest.mark.parametrize(
  "name", ["entries.bin", "starts.npy", "hashes.npy", "manifest.json"]
)
@pytest.mark.parametrize("damage", ["cut", "removed"])
def test_damaged_stores_are_refused(tmp_path, name, damage):
  store, _, _ = build(tmp_path, random_entries(20))
  path = store.directory / name
  content = path.read_bytes()
  path.unlink()
  if damage == "cut":
    path.write_bytes(content[:-9])
  with pytest.raises(ValueError, match="delete"):
    text_store.TextStore(store.directory)
