"""SeqIO's way to the tokens against ours, which has no TensorFlow in it."""

import collections
import itertools
import json
from typing import Any

import numpy as np
import pytest
import seqio
import tensorflow as tf

from gtr_jax import types
from gtr_jax.data import (
  examples,
  feature_converters,
  pipeline,
  tasks,
  tasks_reader,
  vocabulary,
)

LENGTHS = {"inputs": 8, "targets": 12}
RECORDS = [
  {"query": "what is json", "positive": "A text format.", "query_id": "q0"},
  {
    "query": "parse a date from any of the many formats that people write",
    "positives": ["Use strptime.", "Call fromisoformat on it. " * 9],
    "negatives": ["A fruit of the palm tree.", "An evening out.", "Figs."],
    "positive_ids": ["p1", "p2"],
    "negative_ids": ["n1", "n2", "n3"],
  },
  {"query": "日本 🎉", "positive": "Unicode  text\twith spaces "},
]
PROMPTS: dict[str, Any] = {
  "query_prompt": "query: ",
  "passage_prompt": "passage: ",
}
_numbers = itertools.count()


@pytest.fixture(scope="module")
def vocabulary_path(tmp_path_factory):
  texts = [json.dumps(record) for record in RECORDS]
  directory = tmp_path_factory.mktemp("vocabulary")
  vocabulary.save(vocabulary.train(texts, 330), directory)
  return directory / vocabulary.MODEL_FILE


@pytest.fixture(scope="module")
def jsonl(tmp_path_factory):
  path = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
  path.write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
  return path


@pytest.fixture
def name():
  """A name that no other task has."""
  return f"test_pairs_{next(_numbers)}"


def open_store(task, directory, tokenizer=None, **options):
  """The store of one task."""
  made = {"lengths": LENGTHS, "vocab_size": 1, **options}
  opening = examples.Opening(directory=directory, **made)
  mixture, tokenizer = examples.open_tasks(str(task), opening, tokenizer)
  (part,) = mixture.parts
  return part.store, tokenizer


def assert_same_examples(first, second):
  for array in ("tokens", "text_offsets", "keys", "example_offsets",
                "num_positives"):  # fmt: skip
    np.testing.assert_array_equal(
      getattr(first, array), getattr(second, array), err_msg=array
    )
  assert first.statistics == second.statistics
  assert first.content == second.content


@pytest.mark.parametrize("prompts", [{}, PROMPTS], ids=["plain", "prompts"])
def test_both_ways_make_the_same_store(
  name, jsonl, vocabulary_path, tmp_path, prompts
):
  tasks.jsonl_task(name, [jsonl], vocabulary_path, **prompts)
  tokenizer = vocabulary.load(vocabulary_path, **prompts)
  direct, _ = open_store(jsonl, tmp_path, tokenizer=tokenizer)
  registered, own = open_store(name, tmp_path)
  assert_same_examples(direct, registered)
  assert direct.statistics.num_cut["query"] > 0
  assert direct.statistics.num_cut["passage"] > 0
  assert own.agrees_with(tokenizer)


def test_the_tokenizer_of_the_run_is_kept(
  name, jsonl, vocabulary_path, tmp_path
):
  tasks.jsonl_task(name, [jsonl], vocabulary_path, **PROMPTS)
  tokenizer = vocabulary.load(vocabulary_path, **PROMPTS)
  _, kept = open_store(name, tmp_path, tokenizer=tokenizer)
  assert kept is tokenizer
  other = vocabulary.train(["quite another text with zebras in it"], 300)
  with pytest.raises(ValueError, match="another vocabulary"):
    open_store(name, tmp_path, tokenizer=other)


def test_a_bad_line_is_one_clear_error(name, vocabulary_path, tmp_path):
  path = tmp_path / "bad.jsonl"
  path.write_text(json.dumps(RECORDS[0]) + '\n{"query": "q"}\n')
  tasks.jsonl_task(name, [path], vocabulary_path)
  with pytest.raises(ValueError, match=f"{path}:2: no field") as error:
    open_store(name, tmp_path)
  assert "\n" not in str(error.value)


def test_the_documentation_tasks_are_registered(vocabulary_path):
  registered = tasks.python_docs_tasks(vocabulary_path)
  assert [task.name for task in registered] == [
    "python_docs_stage1",
    "python_docs_stage2",
  ]
  for task in registered:
    seqio.TaskRegistry.remove(task.name)


def t5x_task(name, rows, vocabulary_path, *, add_eos=True, **more):
  """A task as T5X Retrieval has them: token ids in inputs and targets."""
  feature = seqio.Feature(
    seqio.SentencePieceVocabulary(str(vocabulary_path)), add_eos=add_eos
  )
  steps = [seqio.preprocessors.append_eos_after_trim] if add_eos else []
  source: Any = seqio.FunctionDataSource(
    lambda split, shuffle_files, seed=None: tf.data.Dataset.from_generator(
      lambda: iter(rows),
      output_signature={
        key: tf.TensorSpec([None] * np.ndim(value), tf.int32)
        for key, value in rows[0].items()
      },
    ),
    splits=["train"],
  )
  return seqio.TaskRegistry.add(
    name,
    source=source,
    preprocessors=steps,
    output_features={"inputs": feature, "targets": feature, **more},
  )


def rows_of(store, example):
  first, last = store.example_offsets[example : example + 2]
  rows = store.token_rows(np.arange(first, last), 16)
  return [row[row > 0].tolist() for row in rows]


@pytest.mark.parametrize("add_eos", [True, False])
def test_a_task_of_t5x_retrieval(name, vocabulary_path, tmp_path, add_eos):
  rows = [
    {"inputs": [5, 6], "targets": list(range(10, 30))},
    {"inputs": list(range(20, 27)), "targets": list(range(10, 22))},
  ]
  t5x_task(name, rows, vocabulary_path, add_eos=add_eos)
  store, _ = open_store(name, tmp_path)
  assert rows_of(store, 0) == [[5, 6, 1], [*range(10, 21), 1]]
  assert rows_of(store, 1) == [[*range(20, 27), 1], [*range(10, 21), 1]]
  assert store.statistics.num_cut == {"query": 0, "passage": 2}
  assert not store.keys[:, 0].any()


def test_negatives_of_one_row_or_several(name, vocabulary_path, tmp_path):
  rows = [{"inputs": [5], "targets": [6], "negative_targets": [7, 8]}]
  t5x_task(name, rows, vocabulary_path)
  store, _ = open_store(name, tmp_path)
  assert rows_of(store, 0) == [[5, 1], [6, 1], [7, 8, 1]]
  rows = [
    {
      "inputs": [5],
      "targets": [6],
      "negative_targets": [[7, 1, 0], [0, 0, 0], [8, 9, 1]],
    }
  ]
  t5x_task(f"{name}_rank_2", rows, vocabulary_path)
  store, _ = open_store(f"{name}_rank_2", tmp_path)
  assert rows_of(store, 0) == [[5, 1], [6, 1], [7, 1], [8, 9, 1]]
  assert store.num_positives.tolist() == [1]


def test_empty_texts_are_refused_or_skipped(name, vocabulary_path, tmp_path):
  rows = [{"inputs": [5], "targets": [6]}, {"inputs": [5], "targets": []}]
  t5x_task(name, rows, vocabulary_path)
  with pytest.raises(ValueError, match="empty query or passage"):
    open_store(name, tmp_path)
  said = []
  store, _ = open_store(name, tmp_path, on_bad_line="skip", report=said.append)
  assert len(store) == 1
  assert "skipped 1 of 2 examples" in said[0]


def test_a_mixture_is_its_tasks_with_their_rates(
  name, vocabulary_path, tmp_path
):
  small = [{"inputs": [5 + n], "targets": [6]} for n in range(2)]
  large = [{"inputs": [50 + n], "targets": [6]} for n in range(9)]
  t5x_task(f"{name}_small", small, vocabulary_path)
  t5x_task(f"{name}_large", large, vocabulary_path)
  seqio.MixtureRegistry.add(name, [(f"{name}_small", 1), (f"{name}_large", 3)])
  opening = examples.Opening(LENGTHS, 1, tmp_path)
  mixture, _ = examples.open_tasks(name, opening)
  parts = {part.name: (len(part.store), part.rate) for part in mixture.parts}
  assert parts == {f"{name}_small": (2, 1), f"{name}_large": (9, 3)}
  batches = pipeline.PairBatches(mixture, 4)
  queries = [next(batches)["query_tokens"][:, 0].tolist() for _ in range(9)]
  assert all(sum(q < 50 for q in batch) == 1 for batch in queries)
  seen = collections.Counter(q for batch in queries for q in batch)
  assert sorted(seen[q] for q in (5, 6)) == [4, 5]
  assert all(seen[q] == 3 for q in range(50, 59))


def test_what_one_encoder_cannot_read_is_refused(
  name, vocabulary_path, tmp_path
):
  rows = [{"inputs": [5], "targets": [6]}]
  other = seqio.Feature(seqio.ByteVocabulary())
  t5x_task(name, rows, vocabulary_path, targets=other)
  with pytest.raises(ValueError, match="different vocabularies"):
    open_store(name, tmp_path)
  t5x_task(f"{name}_bytes", rows, vocabulary_path, inputs=other, targets=other)
  with pytest.raises(ValueError, match="a ByteVocabulary where"):
    open_store(f"{name}_bytes", tmp_path)


def test_an_unknown_name_lists_the_nearest(
  name, jsonl, vocabulary_path, tmp_path
):
  tasks.jsonl_task(name, [jsonl], vocabulary_path)
  with pytest.raises(ValueError, match=f"'{name}'"):
    open_store(f"{name}x", tmp_path)
  assert name in tasks_reader.names()


def test_a_split_must_be_there(name, jsonl, vocabulary_path):
  tasks.jsonl_task(name, [jsonl], vocabulary_path)
  with pytest.raises(ValueError, match="no split 'test' among"):
    tasks_reader.facts(name, "test")


@pytest.mark.parametrize("num_negatives", [0, 2, 4])
def test_the_converter_makes_the_rows_of_the_store(
  name, jsonl, vocabulary_path, tmp_path, num_negatives
):
  tasks.jsonl_task(name, [jsonl], vocabulary_path)
  converter = feature_converters.DualEncoderFeatureConverter(
    num_negatives,
    passthrough_features={
      "query_id": seqio.FeatureConverter.FeatureSpec(tf.string, rank=0)
    },
  )
  lengths = {**LENGTHS, "query_id": 1}
  if num_negatives:
    lengths["negative_targets"] = LENGTHS["targets"]
  converted = list(
    seqio.get_dataset(name, lengths, converter).as_numpy_iterator()
  )
  store, _ = open_store(name, tmp_path)
  first = store.example_offsets[:-1]
  tokens = np.stack([row["query_tokens"] for row in converted])
  np.testing.assert_array_equal(tokens, store.token_rows(first, 8))
  passages = np.stack([row["passage_tokens"] for row in converted])
  due = np.zeros((3, 1 + num_negatives, 12), np.int32)
  due[:, 0] = store.token_rows(first + 1, 12)
  # Only example 1 has negatives: three, behind its query and two positives.
  kept = min(num_negatives, 3)
  due[1, 1 : 1 + kept] = store.token_rows(first[1] + 3 + np.arange(kept), 12)
  np.testing.assert_array_equal(passages, due)
  assert [row["query_id"] for row in converted] == [b"q0", b"", b""]


def equal_pairs(keys):
  """Which of the keys [n] are the same, [n, n]; None equals nothing."""
  return [[a == b and a is not None for b in keys] for a in keys]


def test_the_keys_of_the_converter(name, jsonl, vocabulary_path, tmp_path):
  """Equal where ids are the same string and where tokens are the same."""
  more = [
    {"query": RECORDS[1]["query"], "positive": "Figs.", "positive_ids": ["n1"]},
    {"query": "json", "positive": "Use strptime.", "query_id": "q0"},
  ]
  records = [*RECORDS, *more]
  path = tmp_path / "pairs.jsonl"
  path.write_text("".join(json.dumps(record) + "\n" for record in records))
  tasks.jsonl_task(name, [path], vocabulary_path)
  converter = feature_converters.DualEncoderFeatureConverter(
    num_negatives=2, num_positives=3
  )
  lengths = {**LENGTHS, "negative_targets": LENGTHS["targets"]}
  dataset = seqio.get_dataset(name, lengths, converter, shuffle=False)
  (batch,) = dataset.batch(len(records)).as_numpy_iterator()
  ids: dict[str, Any] = {
    "query": ["q0", None, None, None, "q0"],
    "passage": [None, None, None, "p1", "n1", "n2", *[None] * 3]
    + ["n1", *[None] * 5],
    "positive": [None, None, None, "p1", "p2", None, *[None] * 3]
    + ["n1", *[None] * 5],
  }
  passages = batch["passage_tokens"]
  long = "Call fromisoformat on it. " * 9
  (second,), _ = vocabulary.load(vocabulary_path).encode([long], 12, "passage")
  positives = np.zeros((5, 3, 12), np.int32)
  positives[:, 0] = passages[:, 0]
  positives[1, 1] = second
  texts = {
    "query": batch["query_tokens"],
    "passage": passages.reshape(-1, 12),
    "positive": positives.reshape(-1, 12),
  }
  for kind in texts:
    keys = batch[f"{kind}_keys"].reshape(-1, 2)
    by_id, by_text = ([int(x) or None for x in column] for column in keys.T)
    assert equal_pairs(by_id) == equal_pairs(ids[kind])
    tokens = [tuple(row) if any(row) else None for row in texts[kind].tolist()]
    assert equal_pairs(by_text) == equal_pairs(tokens)
  np.testing.assert_array_equal(
    batch["passage_keys"][:, 0], batch["positive_keys"][:, 0]
  )
  # The same text, and the same id, as the positive of one and in another.
  assert batch["positive_keys"][1, 0, 1] == batch["passage_keys"][4, 0, 1]
  assert batch["positive_keys"][3, 0, 0] == batch["passage_keys"][1, 1, 0]


@pytest.mark.parametrize("num_negatives", [0, 2])
def test_lengths_of_further_passages_may_be_there_or_not(
  name, jsonl, vocabulary_path, num_negatives
):
  """SeqIO's evaluator gives all, T5X's users name what they think of."""
  tasks.jsonl_task(name, [jsonl], vocabulary_path)
  converter = feature_converters.DualEncoderFeatureConverter(num_negatives)
  further = dict.fromkeys(["other_targets", "negative_targets"], 12)
  few, all_lengths = (
    [row["passage_tokens"] for row in rows.as_numpy_iterator()]
    for rows in (
      seqio.get_dataset(name, LENGTHS, converter, shuffle=False),
      seqio.get_dataset(name, {**LENGTHS, **further}, converter, shuffle=False),
    )
  )
  np.testing.assert_array_equal(few, all_lengths)
  assert few[1].shape == (1 + num_negatives, 12) and few[1].all(axis=1).any()


def test_the_converter_wants_a_positive():
  with pytest.raises(ValueError, match="NUM_POSITIVES is 0; it must be at"):
    feature_converters.DualEncoderFeatureConverter(num_positives=0)


def test_the_converter_puts_eos_back(name, vocabulary_path):
  """Where the task adds EOS first and SeqIO then cuts it off."""
  rows = [{"inputs": [*range(5, 20), 1], "targets": [6, 1]}]
  t5x_task(name, rows, vocabulary_path, add_eos=False)
  converter = feature_converters.DualEncoderFeatureConverter()
  (row,) = seqio.get_dataset(name, LENGTHS, converter).as_numpy_iterator()
  assert row["query_tokens"].tolist() == [*range(5, 12), 1]
  assert row["passage_tokens"].tolist() == [[6, 1, *[0] * 10]]


def test_the_converter_wants_one_length_of_passages():
  converter = feature_converters.DualEncoderFeatureConverter(1)
  dataset = tf.data.Dataset.from_tensors(
    {"inputs": [5], "targets": [6], "negative_targets": [[7]]}
  )
  with pytest.raises(ValueError, match="has length 5, targets has 6"):
    converter(dataset, {"inputs": 4, "targets": 6, "negative_targets": 5})


def test_a_store_of_a_task_makes_batches(
  name, jsonl, vocabulary_path, tmp_path
):
  tasks.jsonl_task(name, [jsonl], vocabulary_path)
  store, _ = open_store(name, tmp_path)
  batches: types.Batches = pipeline.PairBatches(store, 3, num_negatives=2)
  batch = next(batches)
  assert sorted(batch["example_ids"].tolist()) == [0, 1, 2]
