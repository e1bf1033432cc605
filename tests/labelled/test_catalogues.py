"""Data sets of ir_datasets and of TFDS, made here: nothing is downloaded."""

import json

import numpy as np
import pytest

from gtr_jax.data.pair import Pair


def pairs(result):
  return [labelled.pair for labelled in result.pairs]


@pytest.fixture
def ir_name(tmp_path, write):
  """A data set registered with ir_datasets."""
  library = pytest.importorskip("ir_datasets", reason="of the extra `data`")
  folder = write(
    docs__tsv="d1\tfirst\nd2\tsecond\nd3\tthird\n",
    queries__tsv="q1\tone ?\nq2\ttwo ?\nq3\tthree ?\n",
    qrels="q1 0 d1 1\nq2 0 d3 2\nq2 0 d1 0\n",
  )
  dataset = library.create_dataset(
    str(folder / "docs.tsv"), str(folder / "queries.tsv"), str(folder / "qrels")
  )
  name = f"of-a-test/{tmp_path.name}"
  library.registry.register(name, dataset)
  return name


def test_ir_datasets(read, ir_name):
  result = read("ir_datasets", ir_name)
  assert pairs(result) == [
    Pair("one ?", ("first",), (), "q1", ("d1",)),
    Pair("two ?", ("third",), ("first",), "q2", ("d3",), ("d1",)),
  ]
  assert result.ledger.counts["queries_without_relevant"] == 1


def test_pairs_of_passages(read, ir_name):
  library = pytest.importorskip("ir_datasets", reason="of the extra `data`")

  class Pairs(library.formats.BaseDocPairs):
    def docpairs_iter(self):
      for names in (("q2", "d3", "d1"), ("q2", "d3", "d2"), ("q1", "d1", "d3")):
        yield library.formats.GenericDocPair(*names)

  base = library.load(ir_name)
  name = f"{ir_name}/pairs"
  library.registry.register(name, library.datasets.base.Dataset(base, Pairs()))
  two, one = pairs(read("ir_datasets", name))
  assert two == Pair(
    "two ?", ("third",), ("first", "second"), "q2", ("d3",), ("d1", "d2")
  )
  assert one.negative_ids == ("d3",)


def test_unknown_names_of_ir_datasets(read, ir_name):
  with pytest.raises(ValueError, match="no/such: ir_datasets knows no such"):
    read("ir_datasets", "no/such")


@pytest.fixture(scope="module")
def tfds():
  pytest.importorskip(
    "importlib_resources", reason="of the extra `data`: TFDS needs it"
  )
  return pytest.importorskip(
    "tensorflow_datasets", reason="TensorFlow Datasets is not installed"
  )


EXAMPLES = [
  ("q1", "one ?", "d1", "first", "First", 1.0),
  ("q2", "two ?", "d2", "second", None, 1.0),
  ("q1", "one ?", "d3", "third", None, 1.0),
  ("q1", "one ?", "d4", "fourth", None, 0.0),
]


@pytest.fixture
def tfds_name(tfds, tmp_path):
  """A prepared data set with the features of TFDS's beir."""
  text = tfds.features.Text()
  names = ("query_id", "query", "passage_id", "passage", "passage_metadata")
  data = tmp_path / "tfds"
  tfds.dataset_builders.store_as_tfds_dataset(
    name="beir_like",
    version="1.0.0",
    features=tfds.features.FeaturesDict(
      {**dict.fromkeys(names, text), "score": np.float32}
    ),
    split_datasets={
      "train": [
        (
          number,
          {
            "query_id": query_id,
            "query": query,
            "passage_id": passage_id,
            "passage": passage,
            "passage_metadata": json.dumps({"title": title} if title else {}),
            "score": score,
          },
        )
        for number, (
          query_id,
          query,
          passage_id,
          passage,
          title,
          score,
        ) in enumerate(EXAMPLES)
      ]
    },
    data_dir=str(data),
    disable_shuffling=True,
  )
  return data / "beir_like" / "1.0.0"


FIELDS = {
  "query": "query",
  "positive": "passage",
  "query_id": "query_id",
  "positive_id": "passage_id",
  "title": "passage_metadata.title",
  "score": "score",
}


def test_tfds(read, tfds_name):
  assert pairs(read("tfds", tfds_name, fields=FIELDS)) == [
    Pair(
      "one ?",
      ("First first", "third"),
      ("fourth",),
      "q1",
      ("d1", "d3"),
      ("d4",),
    ),
    Pair("two ?", ("second",), (), "q2", ("d2",)),
  ]


def test_mistakes_with_tfds(read, tfds_name):
  with pytest.raises(ValueError, match="say which features hold what"):
    read("tfds", tfds_name)
  with pytest.raises(ValueError, match="no feature 'text' for 'positive'"):
    read("tfds", tfds_name, fields={"query": "query", "positive": "text"})
  with pytest.raises(ValueError, match="no split 'dev': it has train"):
    read("tfds", tfds_name, fields=FIELDS, split="dev")
  with pytest.raises(ValueError, match="TFDS knows no such data set"):
    read("tfds", "no_such_set", fields=FIELDS)
  with pytest.raises(ValueError, match="--fields names 'answer'"):
    read("tfds", tfds_name, fields={**FIELDS, "answer": "x"})


def test_a_download_that_fails_is_told(read, ir_name, monkeypatch):
  library = pytest.importorskip("ir_datasets", reason="of the extra `data`")

  def fail():
    raise ConnectionError("no\nroute")

  # As the data set of a name is made anew each time.
  dataset = library.load(ir_name)
  monkeypatch.setattr(dataset, "queries_iter", fail, raising=False)
  monkeypatch.setattr(library, "load", lambda name: dataset)
  with pytest.raises(ValueError, match=r"ConnectionError: no route\): look at"):
    read("ir_datasets", ir_name)
