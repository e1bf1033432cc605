import json
import os
import subprocess
import sys
from typing import cast

import pytest

from gtr_jax.data import overlap, prose, python_docs
from gtr_jax.data.pair import Pair

# By crc32 and the salt; a change of a split makes published numbers invalid.
SPLITS = {
  "tkinter": "train",
  "asyncio": "train",
  "json": "dev",
  "email": "test",
}
SHARED = "No part of this text may be in two splits at the same time."


def source(name):
  return f'''
def read_{name}():
  """Read one {name} message.

  Nobody finds any {name} afterwards, because each {name} is read only once.
  """


def close_{name}():
  """Close every {name} file.  Waits until the {name} has gone away for good."""


def shared_{name}():
  """Share among all {name} users.

  {SHARED}
  """
'''


@pytest.fixture
def root(tmp_path):
  for name in ("tkinter", "asyncio", "json", "email"):
    (tmp_path / f"{name}.py").write_text(source(name))
  (tmp_path / "site-packages").mkdir()
  (tmp_path / "site-packages/tkinter.py").write_text(source("hidden"))
  (tmp_path / "tkinter_broken.py").write_text("def :")
  return tmp_path


@pytest.fixture(scope="module")
def standard():
  return python_docs.standard_library()


def all_texts(pairs):
  return {
    text
    for pair in pairs
    for text in (pair.query, *pair.positives, *pair.negatives)
  }


@pytest.mark.parametrize("module, split", SPLITS.items())
def test_splits_stay_what_they_are(module, split):
  assert python_docs.split_of(module) == split
  assert python_docs.split_of(f"{module}.inner.module") == split


def test_twins_share_a_split():
  for name in ("decimal", "io", "datetime", "json", "email", "os", "abc"):
    for twin in (f"_{name}", f"_py{name}", f"_{name}_abc"):
      assert python_docs.split_of(twin) == python_docs.split_of(name)


def test_a_module_goes_whole_into_one_split(root):
  library = python_docs.read_library(root)
  assert set(library.test.documents) == {
    "email.read_email",
    "email.close_email",
    "email.shared_email",
  }
  assert set(library.dev.documents) == {"json.read_json", "json.close_json"}
  assert library.train.relevant == {
    f"q/{name}": (name,)
    for name in (
      "asyncio.read_asyncio",
      "asyncio.close_asyncio",
      "tkinter.read_tkinter",
      "tkinter.close_tkinter",
    )
  }


def test_training_pairs_share_no_text_with_held_out_ones(root):
  library = python_docs.read_library(root)
  noisy = python_docs.noisy_pairs(library)
  clean = list(python_docs.clean_pairs(library, 2))
  assert ("asyncio read asyncio", SHARED) not in [
    (pair.query, *pair.positives) for pair in noisy
  ]
  assert not any(SHARED in text for text in all_texts([*noisy, *clean]))
  assert "asyncio read asyncio" in {pair.query for pair in noisy}


def test_clean_pairs_name_their_texts(root, monkeypatch):
  monkeypatch.setattr(python_docs, "NUM_SKIPPED", 0)
  library = python_docs.read_library(root)
  first, *_ = python_docs.clean_pairs(library, 1)
  assert first == Pair(
    query="Read one asyncio message.",
    positives=(
      "Nobody finds any asyncio afterwards, because each asyncio is read only"
      " once.",
    ),
    negatives=("Waits until the asyncio has gone away for good.",),
    query_id="q/asyncio.read_asyncio",
    positive_ids=("asyncio.read_asyncio",),
    negative_ids=("asyncio.close_asyncio",),
  )


def test_copies_of_the_library_are_not_out_of_domain(root):
  site = root / "site-packages"
  (site / "numpy").mkdir()
  copied = source("tkinter")
  (site / "numpy/__init__.py").write_text(source("numpy") + copied)
  library = python_docs.read_library(root)
  collection = python_docs.out_of_domain([root / "no", site], library)
  assert set(collection.queries) == {
    "q/numpy.read_numpy",
    "q/numpy.close_numpy",
  }


def test_nothing_installed_is_an_error(root):
  library = python_docs.read_library(root)
  with pytest.raises(ValueError, match="install one of them"):
    python_docs.out_of_domain([root / "none"], library)


def test_a_python_without_sources_is_an_error(tmp_path):
  with pytest.raises(ValueError, match="found 0 training, 0 dev and 0 test"):
    python_docs.read_library(tmp_path)


def test_an_unknown_split_is_an_error(tmp_path):
  with pytest.raises(ValueError, match="got split 'valid': one of train, dev"):
    python_docs.write_collection(tmp_path, cast(python_docs.Split, "valid"))


def test_the_standard_library_is_enough_to_train_on(standard):
  noisy = python_docs.noisy_pairs(standard)
  assert len(noisy) > 10_000
  assert len(standard.train.queries) > 2_000
  assert len(standard.dev.queries) > 200
  assert len(standard.test.queries) > 500


def test_the_standard_library_does_not_leak(standard):
  held_out = [*standard.dev.texts(), *standard.test.texts()]
  known = overlap.all_runs(held_out)
  equal = set(map(prose.words, held_out))
  trained = all_texts(python_docs.noisy_pairs(standard))
  trained |= all_texts(python_docs.clean_pairs(standard, 2))
  leaked = [
    text
    for text in trained
    if prose.words(text) in equal or overlap.overlaps(text, known)
  ]
  assert leaked == []
  # The same by other means: no whole document inside a longer training text.
  joined = "\n".join(" ".join(prose.words(text)) for text in trained)
  bodies = [" ".join(prose.words(t)) for t in standard.test.documents.values()]
  assert [body for body in bodies if body in joined] == []


def test_the_standard_library_has_no_duplicates(standard):
  noisy = python_docs.noisy_pairs(standard)
  keys = {(prose.words(p.query), prose.words(p.positives[0])) for p in noisy}
  assert len(keys) == len(noisy)
  for part in (standard.train, standard.dev, standard.test):
    for texts in (part.documents, part.queries):
      assert len(set(map(prose.words, texts.values()))) == len(texts)
    assert not set(part.documents) & set(part.queries)
    assert set(part.relevant) == set(part.queries)
    answers = {name for names in part.relevant.values() for name in names}
    assert answers <= set(part.documents)


def test_negatives_are_documents_that_are_no_answers(standard):
  pairs = list(python_docs.clean_pairs(standard, 3))
  num_full = sum(len(pair.negatives) == 3 for pair in pairs)
  assert num_full > 0.9 * len(pairs)
  for pair in pairs:
    assert not set(pair.negatives) & set(pair.positives)
    assert pair.negative_ids is not None and pair.positive_ids is not None
    ids = pair.positive_ids + pair.negative_ids
    texts = tuple(standard.train.documents[name] for name in ids)
    assert texts == pair.positives + pair.negatives


def test_writes_each_split_under_its_name(tmp_path, standard):
  for split in ("train", "dev", "test"):
    counts = python_docs.write_collection(tmp_path / split, split)
    part = getattr(standard, split)
    assert counts == part.counts()
    lines = (tmp_path / split / "corpus.jsonl").read_text().splitlines()
    texts = {row["_id"]: row["text"] for row in map(json.loads, lines)}
    assert texts == part.documents
    judgements = (tmp_path / split / f"qrels/{split}.tsv").read_text()
    assert len(judgements.splitlines()) == counts["judgements"] + 1


def test_the_order_of_hashes_does_not_matter(root):
  code = (
    "import pathlib, sys\n"
    "from gtr_jax.data import python_docs\n"
    "library = python_docs.read_library(pathlib.Path(sys.argv[1]))\n"
    "print(python_docs.noisy_pairs(library), library.train, library.test)\n"
    "print(list(python_docs.clean_pairs(library, 2)))"
  )
  outputs = {
    subprocess.run(
      [sys.executable, "-c", code, str(root)],
      env={**os.environ, "PYTHONHASHSEED": seed},
      capture_output=True,
      check=True,
    ).stdout
    for seed in ("1", "2")
  }
  assert len(outputs) == 1
  assert b"Read one asyncio message." in outputs.pop()
