"""Several stores as one stream of batches, against its definition."""

import collections
import json

import numpy as np
import pytest

from gtr_jax import types
from gtr_jax.data import (
  examples,
  mixing_rates,
  mixture,
  packed,
  pipeline,
  token_store_writer,
  tokenization,
  vocabulary,
)

EOS = 1
LENGTHS: dict[types.TowerName, int] = {"query": 8, "passage": 8}
SIZES = (40, 25, 61, 30, 13)
RATES = (3, 1.5, 2, 1, 0.5)


def make_store(directory, task, size, num_negatives=0):
  """Texts say where they are from: query 7 of task 2 is [102, 207, 1]."""
  made = []
  for number in range(size):
    own = [100 + task, 200 + number]
    passages = [
      np.array([*own, 300 + n, *[5] * (number % 3), EOS], np.int32)
      for n in range(1 + num_negatives)
    ]
    made.append(
      tokenization.TokenExample(
        [np.array([*own, EOS], np.int32), *passages],
        1,
        [f"q{number}", *(f"p{number}-{n}" for n in range(len(passages)))],
      )
    )
  chunk = tokenization.TokenChunk(made, {"query": 0, "passage": 0})
  return token_store_writer.build(
    directory, f"f{task}", [chunk.columns()], vocab_size=400, lengths=LENGTHS
  )


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
  directory = tmp_path_factory.mktemp("stores")
  return [
    make_store(directory, task, size, num_negatives=3 if task % 2 else 0)
    for task, size in enumerate(SIZES)
  ]


@pytest.fixture(params=[False, True], ids=["mixed", "homogeneous"])
def five(stores, request):
  parts = [
    mixture.Part(f"task{task}", store, rate)
    for task, (store, rate) in enumerate(zip(stores, RATES, strict=True))
  ]
  return mixture.Mixture(parts, homogeneous=request.param)


def tasks_of(batch):
  return (batch["query_tokens"][:, 0] - 100).tolist()


def assert_same(first, second):
  assert first.keys() == second.keys()
  for name in first:
    np.testing.assert_array_equal(first[name], second[name], err_msg=name)


def test_a_batch_is_of_all_tasks_or_of_one(five):
  batches = pipeline.PairBatches(five, 12, num_negatives=1)
  counts = collections.Counter[int]()
  for _ in range(200):
    tasks = tasks_of(next(batches))
    counts.update(tasks)
    if five.homogeneous:
      assert len(set(tasks)) == 1
    else:
      assert set(tasks) >= {0, 1, 2, 3}
  seen = np.array([counts[task] for task in range(5)]) / counts.total()
  atol = 1 / 200 if five.homogeneous else 1 / 2400
  np.testing.assert_allclose(seen, np.array(RATES) / sum(RATES), atol=atol)


def test_every_task_goes_through_its_own_epochs(five):
  batches = pipeline.PairBatches(five, 12)
  numbers = collections.defaultdict(list)
  for _ in range(200):
    batch = next(batches)
    for task, number in zip(
      tasks_of(batch), batch["query_tokens"][:, 1] - 200, strict=True
    ):
      numbers[task].append(number)
  for task, size in enumerate(SIZES):
    whole = len(numbers[task]) // size
    assert whole >= 2
    epochs = np.reshape(numbers[task][: whole * size], (whole, size))
    np.testing.assert_array_equal(
      np.sort(epochs), np.tile(np.arange(size), (whole, 1))
    )
    assert len(np.unique(epochs, axis=0)) == whole


def test_texts_keys_and_ids_belong_together(five):
  batch = pipeline.PairBatches(five, 12, num_negatives=2).batch_at(3)
  for row, task in enumerate(tasks_of(batch)):
    query, passages = batch["query_tokens"][row], batch["passage_tokens"][row]
    assert passages[0, :3].tolist() == [*query[:2], 300]
    there = passages[1:, 0] > 0
    assert there.all() if task % 2 else not there.any()
    np.testing.assert_array_equal(there, batch["passage_keys"][row, 1:, 1] != 0)
    assert set(passages[1:][there][:, 1]) <= {query[1]}
  first = np.cumsum([0, *SIZES])[tasks_of(batch)]
  np.testing.assert_array_equal(
    batch["example_ids"], first + batch["query_tokens"][:, 1] - 200
  )


def test_an_id_is_another_one_in_another_task(five):
  batches = pipeline.PairBatches(five, 12)
  ids = collections.defaultdict(set)
  for _ in range(150):
    batch = next(batches)
    assert np.all(batch["query_keys"][:, 0] != 0)
    for task, number, key in zip(
      tasks_of(batch),
      batch["query_tokens"][:, 1],
      batch["query_keys"][:, 0],
      strict=True,
    ):
      ids[number].add((task, int(key)))
  for seen in ids.values():
    assert len({key for _, key in seen}) == len({task for task, _ in seen})
    assert len(seen) == len({task for task, _ in seen})


def test_no_id_stays_no_id(stores):
  mixed = mixture.Mixture([mixture.Part(str(n), stores[n]) for n in (0, 1)])
  none = mixed.text_keys(np.array([[-1, 0]]))
  assert none[0, 0].tolist() == [0, 0] and none[0, 1, 0] != 0


def test_stopped_anywhere_it_goes_on_to_the_bit(five):
  make = lambda: pipeline.PairBatches(five, 12, num_negatives=1, seed=7)
  due = make()
  straight = [next(due) for _ in range(60)]
  random = np.random.default_rng(0)
  for stop in random.integers(1, 59, 20):
    before = make()
    for _ in range(stop):
      next(before)
    position = json.loads(json.dumps(before.position()))
    after = make()
    after.restore(position)
    for number in range(stop, min(stop + 3, 60)):
      assert_same(next(after), straight[number])


@pytest.mark.parametrize("count", [2, 4])
def test_several_hosts_share_the_same_batches(five, count):
  whole = pipeline.PairBatches(five, 12, num_negatives=1)
  parts = [
    pipeline.PairBatches(
      five, 12, num_negatives=1, process_index=n, process_count=count
    )
    for n in range(count)
  ]
  for _ in range(6):
    rows = [next(part) for part in parts]
    together = {
      name: np.concatenate([row[name] for row in rows]) for name in rows[0]
    }
    assert_same(together, next(whole))


def test_packed_rows_hold_the_same_texts(five):
  plain = pipeline.PairBatches(five, 12, num_negatives=1)
  made = packed.PackedBatches(pipeline.PairBatches(five, 12, num_negatives=1))
  for number in range(8):
    batch, rows = plain.batch_at(number), made.batch_at(number)
    for tower in ("query", "passage"):
      due = batch[f"{tower}_tokens"].reshape(-1, 8)
      came = np.zeros_like(due)
      for row, segments, texts in zip(
        rows[f"{tower}_rows"],
        rows[f"{tower}_segments"],
        rows[f"{tower}_texts"],
        strict=True,
      ):
        for slot, text in enumerate(texts):
          if text >= 0:
            tokens = row[segments == slot + 1]
            came[text, : len(tokens)] = tokens
      np.testing.assert_array_equal(came, due)


def test_another_mixture_is_another_place(stores):
  def position(rates, homogeneous=False):
    chosen = zip(stores[: len(rates)], rates, strict=True)
    parts = [mixture.Part(str(store), store, rate) for store, rate in chosen]
    mixed = mixture.Mixture(parts, homogeneous)
    return pipeline.PairBatches(mixed, 4)

  saved = position((1, 2)).position()
  position((2, 4)).restore(saved)  # The same proportions.
  for other in (position((1, 3)), position((1, 2), True), position((1, 2, 1))):
    with pytest.raises(ValueError, match="saved position in the data has data"):
      other.restore(saved)


def test_a_task_must_fill_its_share_of_a_batch(stores):
  parts = [mixture.Part("large", stores[2]), mixture.Part("small", stores[4])]
  pipeline.PairBatches(mixture.Mixture(parts), 26)
  with pytest.raises(ValueError, match="'small' has 13 pairs, 14 of it"):
    pipeline.PairBatches(mixture.Mixture(parts), 28)
  with pytest.raises(ValueError, match="'small' has 13 pairs, 14 of it"):
    pipeline.PairBatches(mixture.Mixture(parts, homogeneous=True), 14)


def test_the_same_data_twice_is_refused(stores):
  parts = [mixture.Part("a", stores[0]), mixture.Part("b", stores[0])]
  with pytest.raises(ValueError, match="'a' and 'b' hold the same"):
    mixture.Mixture(parts)


def test_it_says_what_is_mixed(five):
  said = pipeline.PairBatches(five, 12).describe()
  assert "169 examples" in said and "37.50% task0 (40)" in said


@pytest.fixture
def files(tmp_path):
  paths = []
  for name, size in (("a", 6), ("b", 18), ("c", 54)):
    path = tmp_path / f"{name}.jsonl"
    path.write_text(
      "".join(
        json.dumps({"query": f"{name} {n}", "positive": f"{n} of {name}"})
        + "\n"
        for n in range(size)
      )
    )
    paths.append(str(path))
  return paths


@pytest.fixture(scope="module")
def tokenizer():
  return vocabulary.train(["a b c of 0 1 2 3 4 5 6 7 8 9 query: "], 300)


@pytest.fixture
def opening(tmp_path):
  return examples.Opening(
    {"query": 16, "passage": 16}, vocab_size=300, directory=tmp_path / "kept"
  )


@pytest.mark.parametrize(
  "options, due",
  [
    ({}, (6, 18, 54)),
    ({"temperature": 2}, (6**0.5, 18**0.5, 54**0.5)),
    ({"maximum": 20}, (6, 18, 20)),
  ],
)
def test_rates_by_size(files, opening, tokenizer, options, due):
  mixed, _ = examples.open_tasks(
    files, opening, tokenizer, mixing_rates.Mixing(**options)
  )
  assert [part.rate for part in mixed.parts] == pytest.approx(due)


def test_rates_that_are_given(files, opening, tokenizer):
  rates = dict(zip(files, (1, 2.5, 1), strict=True))
  mixed, _ = examples.open_tasks(rates, opening, tokenizer)
  assert {part.name: part.rate for part in mixed.parts} == rates


def test_a_task_has_prompts_of_its_own(files, opening, tokenizer):
  mixing = mixing_rates.Mixing(prompts={files[1]: ("query: ", "")})
  mixed, kept = examples.open_tasks(files[:2], opening, tokenizer, mixing)
  assert kept is tokenizer
  texts = [
    tokenizer.decode(part.store.token_rows(np.array([0]), 16)[0])
    for part in mixed.parts
  ]
  assert texts == ["a 0", "query: b 0"]


def test_a_vocabulary_is_trained_on_all_tasks(files, opening):
  mixed, trained = examples.open_tasks(files, opening)
  _, alone = examples.open_tasks(files[0], opening)
  assert trained.sha256 != alone.sha256
  assert mixed.statistics.num_cut == {"query": 0, "passage": 0}


@pytest.mark.parametrize(
  "tasks, mixing, reason",
  [
    (lambda f: {f[0]: 1, f[1]: 2}, {"temperature": 2}, "leave the rates out"),
    (lambda f: {f[0]: 1, f[1]: 2}, {"maximum": 9}, "leave the rates out"),
    (lambda f: {f[0]: 1, f[1]: "2"}, {}, "the rate of a task is '2'"),
    (lambda f: {f[0]: 1, f[1]: 0}, {}, "a number above 0"),
    (lambda f: f, {"temperature": 0}, "temperature of a mixture is 0"),
    (lambda f: f, {"prompts": {"x": ("", "")}}, "'x', which is none of"),
    (lambda f: [f[0], f[0]], {}, "named twice"),
    (lambda f: [], {}, "no task is named"),
  ],
)
def test_what_is_no_mixture_is_refused(
  files, opening, tokenizer, tasks, mixing, reason
):
  with pytest.raises(ValueError, match=reason) as error:
    examples.open_tasks(
      tasks(files), opening, tokenizer, mixing_rates.Mixing(**mixing)
    )
  assert "\n" not in str(error.value)
