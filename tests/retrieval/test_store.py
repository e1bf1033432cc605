import dataclasses
import json

import ml_dtypes
import numpy as np
import pytest

from gtr_jax.retrieval import exact, store, store_writer

RECIPE = store.Recipe("c0ffee", "f00d", "passage", 512)
SOURCE = store.Source("corpus.jsonl", 99, "ab")
DOCUMENTS = [
  (f"d{row}", f"Title {row}" if row % 2 else "", f"text\n{row} é")
  for row in range(10)
]


def copy_documents(add):
  for document in DOCUMENTS:
    add(*document)
  return 2


def never(add):
  raise AssertionError("the texts are copied already")


def vectors(start, stop):
  rows = np.arange(start, stop, dtype=np.float32)
  return np.stack([np.cos(rows), np.sin(rows), rows / 1000], axis=1)


def opened(
  directory,
  copy=copy_documents,
  recipe=RECIPE,
  source=SOURCE,
  rows: int | None = 4,
):
  return store_writer.opened(directory, recipe, source, copy, shard_rows=rows)


def make(directory, **arguments):
  with opened(directory, **arguments) as writer:
    for shard in writer.missing():
      span = writer.manifest.shard_span(shard)
      writer.write_shard(shard, vectors(*span), truncated=shard)
    writer.finish()
  return directory


def contents(directory):
  return {
    path.name: path.read_bytes()
    for path in directory.iterdir()
    if path.name != store_writer.LOCK
  }


def test_comes_back(tmp_path):
  read = store.load(make(tmp_path / "s"))
  np.testing.assert_array_equal(read.embeddings[:], vectors(0, 10))
  assert read.embeddings.shape == (10, 3)
  assert list(read.documents.ids) == [f"d{row}" for row in range(10)]
  assert read.documents.text(3) == "Title 3 text\n3 é"
  assert read.documents.text(4) == "text\n4 é"
  assert read.manifest.truncated == 0 + 1 + 2
  assert read.manifest.skipped == 2
  assert read.manifest.recipe == RECIPE
  record = json.loads((tmp_path / "s/manifest.json").read_text())
  assert record["recipe"]["checkpoint"] == "c0ffee"
  assert record["truncated"] == 3
  assert sorted(contents(tmp_path / "s")) == [
    "documents.jsonl",
    "documents.offsets.npy",
    "ids.txt",
    "manifest.json",
    "shard-00000-of-00003.npy",
    "shard-00001-of-00003.npy",
    "shard-00002-of-00003.npy",
  ]


@pytest.mark.parametrize(
  ("start", "stop"),
  [(0, 0), (0, 4), (1, 3), (3, 5), (0, 10), (7, 99), (4, 8), (10, 12)],
)
def test_any_slice_of_rows(tmp_path, start, stop):
  embeddings = store.load(make(tmp_path / "s")).embeddings
  np.testing.assert_array_equal(
    embeddings[start:stop].reshape(-1, 3), vectors(0, 10)[start:stop]
  )


def test_is_searched_as_an_array_is(tmp_path):
  read = store.load(make(tmp_path / "s"))
  index = exact.ExactIndex(read.embeddings, read.documents.ids, block_rows=3)
  array = exact.ExactIndex(vectors(0, 10), read.documents.ids)
  queries = vectors(20, 25)
  for ours, theirs in zip(
    index.search(queries, 10).passage_ids().values(),
    array.search(queries, 10).passage_ids().values(),
    strict=True,
  ):
    assert ours == theirs


@pytest.mark.parametrize(
  ("dtype", "bits"), [("float16", 11), ("bfloat16", 8), ("float32", 24)]
)
def test_dtypes(tmp_path, dtype, bits):
  recipe = dataclasses.replace(RECIPE, dtype=dtype)
  read = store.load(make(tmp_path / "s", recipe=recipe)).embeddings[:]
  names = {"bfloat16": ml_dtypes.bfloat16}
  assert read.dtype == names.get(dtype, dtype)
  np.testing.assert_allclose(
    read.astype(np.float32), vectors(0, 10), rtol=2.0**-bits, atol=2.0**-24
  )


def test_no_other_dtypes():
  with pytest.raises(ValueError, match="'int8'"):
    dataclasses.replace(RECIPE, dtype="int8")


@pytest.mark.parametrize("num_done", [0, 1, 2, 3])
def test_goes_on_where_it_stopped(tmp_path, num_done):
  whole = contents(make(tmp_path / "whole"))
  with opened(tmp_path / "s") as writer:
    for shard in writer.missing()[:num_done]:
      span = writer.manifest.shard_span(shard)
      writer.write_shard(shard, vectors(*span), truncated=shard)
  with pytest.raises(ValueError, match="not finished"):
    store.load(tmp_path / "s")
  with opened(tmp_path / "s", copy=never, rows=None) as writer:
    assert writer.missing() == [0, 1, 2][num_done:]
    if num_done < 3:
      with pytest.raises(ValueError, match="are missing"):
        writer.finish()
  make(tmp_path / "s", copy=never)
  assert contents(tmp_path / "s") == whole


def test_a_kill_between_shard_and_plan_costs_that_shard(tmp_path):
  whole = contents(make(tmp_path / "whole"))
  with opened(tmp_path / "s") as writer:
    plan = (tmp_path / "s" / store.PLAN).read_bytes()
    writer.write_shard(0, vectors(0, 4), 0)
  (tmp_path / "s" / store.PLAN).write_bytes(plan)
  with opened(tmp_path / "s", copy=never) as writer:
    assert writer.missing() == [0, 1, 2]
  make(tmp_path / "s", copy=never)
  assert contents(tmp_path / "s") == whole


def test_a_kill_while_the_texts_are_copied(tmp_path):
  class KilledError(Exception):
    pass

  def killed(add):
    add("d0", "", "text")
    raise KilledError

  with pytest.raises(KilledError), opened(tmp_path / "s", copy=killed):
    pass
  (tmp_path / "s" / ".ids.txt.123.tmp").write_text("left by a kill")
  (tmp_path / "s" / "ids.txt").write_text("d0\n")
  make(tmp_path / "s")
  assert contents(tmp_path / "s") == contents(make(tmp_path / "whole"))


def test_a_finished_store_is_left_alone(tmp_path):
  before = contents(make(tmp_path / "s"))
  with opened(tmp_path / "s", copy=never, rows=None) as writer:
    assert writer.missing() == []
    writer.finish()
  assert contents(tmp_path / "s") == before


@pytest.mark.parametrize("damage", ["missing", "cut", "empty"])
def test_a_broken_shard_is_found_and_made_again(tmp_path, damage):
  before = contents(make(tmp_path / "s"))
  path = tmp_path / "s/shard-00001-of-00003.npy"
  content = path.read_bytes()
  path.unlink()
  if damage != "missing":
    path.write_bytes(content[:-5] if damage == "cut" else b"")
  with pytest.raises(ValueError, match="shard-00001-of-00003.npy: is"):
    store.load(tmp_path / "s")
  with opened(tmp_path / "s", copy=never) as writer:
    assert writer.missing() == [1]
  with pytest.raises(ValueError, match="not finished"):
    store.load(tmp_path / "s")
  make(tmp_path / "s", copy=never)
  assert contents(tmp_path / "s") == before


@pytest.mark.parametrize(
  "name", ["ids.txt", "documents.jsonl", "documents.offsets.npy"]
)
def test_broken_documents(tmp_path, name):
  path = make(tmp_path / "s") / name
  path.write_bytes(path.read_bytes()[:-4])
  with pytest.raises(ValueError, match="another --output"):
    store.load(tmp_path / "s")
  path.unlink()
  with pytest.raises(ValueError, match=f"{name}: is missing"):
    store.load(tmp_path / "s")


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 3}', "null"])
def test_broken_manifest(tmp_path, content):
  (make(tmp_path / "s") / store.MANIFEST).write_text(content)
  with pytest.raises(ValueError, match="is no manifest"):
    store.load(tmp_path / "s")


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"recipe": dataclasses.replace(RECIPE, checkpoint="d")}, "checkpoint was"),
    ({"recipe": dataclasses.replace(RECIPE, length=64)}, "length was 512 and"),
    ({"recipe": dataclasses.replace(RECIPE, dtype="float16")}, "dtype"),
    ({"source": store.Source("corpus.jsonl", 99, "cd")}, "input was 'ab'"),
    ({"rows": 5}, "shard_rows was 4 and is 5"),
  ],
)
@pytest.mark.parametrize("finished", [True, False])
def test_other_embeddings_are_kept(tmp_path, change, message, finished):
  make(tmp_path / "s")
  if not finished:
    (tmp_path / "s" / store.MANIFEST).rename(tmp_path / "s" / store.PLAN)
  before = contents(tmp_path / "s")
  with (
    pytest.raises(ValueError, match=f"{message}.*another --output"),
    opened(tmp_path / "s", copy=never, **change),
  ):
    pass
  assert contents(tmp_path / "s") == before


def test_the_source_may_move(tmp_path):
  make(tmp_path / "s")
  moved = dataclasses.replace(SOURCE, name="elsewhere.jsonl")
  with opened(tmp_path / "s", copy=never, source=moved) as writer:
    assert writer.missing() == []


def test_other_files_are_not_touched(tmp_path):
  (tmp_path / "thesis.tex").write_text("precious")
  with pytest.raises(ValueError, match="thesis.tex"), opened(tmp_path):
    pass
  assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
  with pytest.raises(ValueError, match="is a file"):
    make(tmp_path / "thesis.tex")


def test_one_writer_at_a_time(tmp_path):
  with (
    opened(tmp_path / "s"),
    pytest.raises(ValueError, match="another `gtr encode`"),
    opened(tmp_path / "s"),
  ):
    pass


@pytest.mark.parametrize("identifier", ["", "a\nb", "a\u2028b"])
def test_ids_are_lines(tmp_path, identifier):
  with (
    pytest.raises(ValueError, match="line end"),
    opened(tmp_path / "s", copy=lambda add: add(identifier, "", "text")),
  ):
    pass


def test_no_texts(tmp_path):
  with (
    pytest.raises(ValueError, match="no text"),
    opened(tmp_path / "s", copy=lambda add: 3),
  ):
    pass


@pytest.mark.parametrize(
  ("num_texts", "shard_rows"), [(1, 512), (600, 512), (20_000, 1250)]
)
def test_shards_are_neither_tiny_nor_one(tmp_path, num_texts, shard_rows):
  def copy(add):
    for row in range(num_texts):
      add(str(row), "", "text")
    return 0

  with opened(tmp_path / "s", copy=copy, rows=None) as writer:
    assert writer.manifest.shard_rows == shard_rows
    texts = writer.texts(0)
    assert len(texts) == min(num_texts, shard_rows)
    assert texts[0] == texts[-1] == "text"
    assert list(texts[:3]) == ["text"] * min(num_texts, 3)


def test_is_no_store(tmp_path):
  with pytest.raises(ValueError, match="no embedding store"):
    store.load(tmp_path / "nowhere")


def test_a_shard_must_fit(tmp_path):
  with opened(tmp_path / "s") as writer:
    writer.write_shard(0, vectors(0, 4), 0)
    with pytest.raises(ValueError, match=r"due is \(4, 3\)"):
      writer.write_shard(1, vectors(0, 3), 0)
    with pytest.raises(ValueError, match=r"due is \(4, 3\)"):
      writer.write_shard(1, np.zeros((4, 2), np.float32), 0)


def test_fingerprint(tmp_path):
  (tmp_path / "a.jsonl").write_bytes(b"abc")
  assert store_writer.fingerprint(tmp_path / "a.jsonl") == store.Source(
    "a.jsonl",
    3,
    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
  )
