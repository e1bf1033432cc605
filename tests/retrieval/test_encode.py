import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax.sharding import NamedSharding, PartitionSpec

from gtr_jax import partitioning
from gtr_jax.models import dual_encoder, t5_encoder, text_encoder
from gtr_jax.retrieval import encode, foreign_towers, towers
from gtr_jax.types import TowerName

VOCAB_SIZE = 50


class Words:
  """A tokenizer: a word is an id, EOS is 1."""

  vocab_size = VOCAB_SIZE

  def encode(self, texts, length, tower):
    prompt = {"query": [2], "passage": []}[tower]
    rows = [
      prompt + [3 + sum(word.encode()) % 47 for word in text.split()]
      for text in texts
    ]
    cut = [np.array([*row[: length - 1], 1], np.int32) for row in rows]
    return cut, sum(len(row) >= length for row in rows)


def weighted_mean(params, tokens, member, weights):
  """Mean vectors of the texts of each row, [r, S, D], of unit length."""
  weights = jnp.where(member, weights[:, :, None], 0.0)
  total = jnp.einsum("rls,rld->rsd", weights, params[tokens])
  return total / jnp.linalg.norm(total, axis=2, keepdims=True)


def simple_tower(params, tokens, segments, num_texts):
  """A mean of vectors; compiles fast."""
  member = segments[:, :, None] == 1 + jnp.arange(num_texts)[None, None]
  weights = jnp.ones(tokens.shape, np.float32)
  return weighted_mean(params, tokens, member, weights)


def place_aware_tower(params, tokens, segments, num_texts):
  """Another one, for which the place of a token in its text counts."""
  member = segments[:, :, None] == 1 + jnp.arange(num_texts)[None, None]
  columns = jnp.arange(tokens.shape[1])
  before = jnp.maximum(columns[:, None] - columns[None], 0)[None]
  same = segments[:, :, None] == segments[:, None, :]
  distances = jnp.where(same, before, 0).sum(axis=2)
  weights = 1.0 + distances.astype(np.float32)
  return weighted_mean(params, tokens, member, weights)


TOWERS = {"query": simple_tower, "passage": place_aware_tower}
TABLE = np.random.default_rng(0).normal(size=(VOCAB_SIZE, 24))


OF_TOWERS = {"functions", "params", "mesh", "batch_tokens", "packs", "rules"}


def encoder_of(**arguments):
  given = {name: arguments.pop(name) for name in OF_TOWERS & arguments.keys()}
  defaults = {"functions": TOWERS, "params": TABLE.astype(np.float32)}
  return encode.Encoder(
    towers.Towers(**{**defaults, **given}),
    **{"tokenizer": Words(), **arguments},
  )


def towers_of(encoder):
  assert isinstance(encoder.towers, towers.Towers)
  return encoder.towers


@functools.cache
def t5_encoder_of(**arguments):
  """The real thing, small."""
  tower = text_encoder.TextEncoder(
    t5_encoder.T5Encoder(num_layers=2, num_heads=2, head_dim=8, mlp_dim=32),
    vocab_size=VOCAB_SIZE,
    embed_dim=16,
    projection_dim=24,
  )
  model = dual_encoder.DualEncoder(tower)
  tokens = np.ones((1, 4), np.int32)
  params = model.init(jax.random.key(0), tokens, tokens)["params"]

  def encode_tower(params, tokens, segments, num_texts):
    return dual_encoder.encode(
      model, params, tokens, "passage", None, segments, num_texts
    )

  return encoder_of(
    functions={"query": encode_tower, "passage": encode_tower},
    params=nn.meta.unbox(params),
    **arguments,
  )


def random_texts(seed, num_texts):
  """Of a few lengths only, each of which the definition compiles."""
  rng = np.random.default_rng(seed)
  return [
    " ".join(f"w{word}" for word in rng.integers(0, 1000, length))
    for length in rng.choice([0, 3, 15, 16, 40], num_texts)
  ]


def definition(encoder, texts, tower: TowerName = "passage", length=512):
  """One text at a time, without padding."""
  rows, _ = Words().encode(texts, length, tower)
  return np.concatenate([alone(encoder, row, tower) for row in rows])


def alone(encoder, row, tower: TowerName = "passage"):
  """[1, D]."""
  one = jax.jit(towers_of(encoder).functions[tower], static_argnums=3)
  tokens = np.asarray(row, np.int32)[None]
  return one(towers_of(encoder).params, tokens, np.int32(tokens > 0), 1)[:, 0]


@pytest.mark.parametrize("make", [encoder_of, t5_encoder_of])
def test_is_the_model_on_one_text_at_a_time(make):
  texts = random_texts(0, 30)
  encoder = make(batch_tokens=128)
  embeddings = encoder.encode_passages(texts)
  np.testing.assert_allclose(embeddings, definition(encoder, texts), atol=1e-6)
  assert embeddings.dtype == np.float32
  np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("make", [encoder_of, t5_encoder_of])
def test_neighbours_and_order_change_nothing(make):
  texts = random_texts(1, 60)
  encoder = make(batch_tokens=128)
  embeddings = encoder.encode_passages(texts)
  order = np.random.default_rng(2).permutation(len(texts))[:20]
  some = encoder.encode_passages([texts[place] for place in order])
  np.testing.assert_allclose(some, embeddings[order], atol=1e-6)


@pytest.mark.parametrize("make", [encoder_of, t5_encoder_of])
def test_devices_change_nothing(mesh, make):
  texts = random_texts(0, 30)
  encoder = make(mesh=mesh, batch_tokens=128)
  for some in (texts, texts[:1]):
    np.testing.assert_allclose(
      encoder.encode_passages(some), definition(encoder, some), atol=1e-6
    )


def test_spread_parameters_are_gathered_where_they_are_used():
  """As training has them with FSDP; evaluating again traces nothing."""
  layout = partitioning.Layout(rules=(("embed", "data"),), num_slices=2)
  mesh, whole = layout.mesh(), t5_encoder_of(batch_tokens=128)
  spread = NamedSharding(mesh, PartitionSpec("data"))
  params = jax.device_put(
    towers_of(whole).params, NamedSharding(mesh, PartitionSpec())
  )
  attention = params["encoder"]["layers_1"]["attention"]
  for name in ("query", "key", "value"):
    kernel = attention[name]["kernel"]
    attention[name] = {"kernel": jax.device_put(kernel, spread)}
  seen = shares = []

  def tower(params, *arrays):
    attention = params["encoder"]["layers_1"]["attention"]
    shares.append(attention["key"]["kernel"].shape)
    return towers_of(whole).functions["passage"](params, *arrays)

  texts = random_texts(0, 30)
  due = definition(whole, texts)
  for _ in range(2):
    encoder = dataclasses.replace(
      whole,
      towers=towers.Towers(
        {"query": tower, "passage": tower},
        params,
        mesh=mesh,
        rules=layout.all_rules(),
      ),
    )
    embeddings = encoder.encode_passages(texts)
    np.testing.assert_allclose(embeddings, due, atol=1e-6)
    seen, shares = shares, []
    assert set(seen) <= {(4, 16)}
  assert not seen


@pytest.mark.parametrize("make", [encoder_of, t5_encoder_of])
def test_packing_changes_nothing(make):
  texts = random_texts(3, 120)
  packed, padded = make(batch_tokens=512), make(batch_tokens=512, packs=False)
  (batch, *_) = packed.towers.plan(Words().encode(texts, 512, "passage")[0])
  assert batch.slots.shape[1] > 1
  np.testing.assert_allclose(
    packed.encode_passages(texts), padded.encode_passages(texts), atol=1e-6
  )


def test_towers_have_their_own_lengths_and_prompts():
  texts = random_texts(4, 20)
  encoder = encoder_of(query_length=10, passage_length=40)
  queries, num_cut = encoder.encode_texts(texts, "query")
  assert num_cut == sum(len(text.split()) > 8 for text in texts)
  np.testing.assert_allclose(
    queries, definition(encoder, texts, "query", 10), atol=1e-6
  )
  passages, num_cut = encoder.encode_texts(texts, "passage")
  assert num_cut == sum(len(text.split()) > 39 for text in texts)
  np.testing.assert_allclose(
    passages, definition(encoder, texts, "passage", 40), atol=1e-6
  )


def test_title_and_text_are_joined_as_in_beir():
  encoder = encoder_of()
  np.testing.assert_array_equal(
    encoder.encode_passages(
      [
        {"title": "a b", "text": "c d"},
        {"title": "", "text": "c d"},
        {"text": " c d "},
        {"title": "a b", "text": ""},
      ]
    ),
    encoder.encode_passages(["a b c d", "c d", "c d", "a b"]),
  )
  assert encode.join_title({"title": "a", "text": "b"}) == "a b"
  assert encode.join_title({"title": "a", "text": ""}) == "a"


def test_compiles_a_shape_once():
  num_traces = 0

  def counted(*arguments):
    nonlocal num_traces
    num_traces += 1
    return simple_tower(*arguments)

  encoder = encoder_of(functions={"query": counted, "passage": counted})
  encoder.encode_passages(random_texts(5, 300))
  first = num_traces
  assert first <= 8
  encoder.encode_passages(random_texts(6, 300)[::-1])
  assert num_traces <= first + 1
  before = num_traces
  encoder.encode_passages(random_texts(6, 300))
  doubled = dataclasses.replace(
    towers_of(encoder), params=towers_of(encoder).params * 2
  )
  fresh = dataclasses.replace(encoder, towers=doubled)
  fresh.encode_passages(random_texts(6, 300))
  assert num_traces == before


def test_nothing_in_nothing_out():
  encoder = encoder_of()
  assert encoder.encode_queries([]).shape == (0, 24)
  assert encoder.encode_passages([]).shape == (0, 24)
  assert encoder.encode_tokens(np.zeros((0, 5), np.int32)).shape == (0, 24)
  assert list(encoder.encode_stream([])) == []


def test_a_stream_is_a_window_at_a_time():
  texts = random_texts(7, 100)
  taken = 0

  def passages():
    nonlocal taken
    for taken, text in enumerate(texts, start=1):
      yield {"_id": f"p{taken - 1}", "title": "t", "text": text}

  done, parts, num_given = [], [], 0
  encoder = encoder_of()
  for ids, embeddings in encoder.encode_stream(
    passages(), window=16, report=done.append
  ):
    assert ids == [f"p{num_given + place}" for place in range(len(ids))]
    parts.append(embeddings)
    num_given += len(ids)
    assert taken <= num_given + 16
  expected = definition(encoder, [f"t {text}" for text in texts])
  np.testing.assert_allclose(np.concatenate(parts), expected, atol=1e-6)
  assert sum(done) == 100
  assert [len(part) for part in parts] == [16] * 6 + [4]


def test_a_window_is_the_same_to_the_bit_whatever_the_others():
  windows = [random_texts(seed, 40) for seed in (8, 9, 10)]
  encoder = encoder_of(batch_tokens=512)
  together = [part for part, _ in encoder.encode_windows(windows, "passage")]
  for window, embeddings in zip(windows, together, strict=True):
    ((alone, _),) = encoder.encode_windows([window], "passage")
    np.testing.assert_array_equal(alone, embeddings)


@pytest.mark.parametrize("length", [41, 128, 600])
def test_token_ids_of_any_length(length):
  texts = random_texts(11, 10)
  rows, _ = Words().encode(texts, 512, "query")
  ids = np.zeros((10, length), np.int64)
  for place, row in enumerate(rows):
    ids[place, : len(row)] = row
  encoder = encoder_of(vocab_size=VOCAB_SIZE)
  np.testing.assert_allclose(
    encoder.encode_tokens(ids), definition(encoder, texts, "query"), atol=1e-6
  )


def test_padding_inside_a_row_keeps_its_place():
  ids = np.array([[0, 5, 0, 0, 7, 1, 0]], np.int32)
  encoder = encoder_of()
  due = alone(encoder, ids[0])
  np.testing.assert_allclose(
    encoder.encode_tokens(ids, tower="passage"), due, atol=1e-6
  )
  together = np.repeat(ids, 200, axis=0)
  np.testing.assert_allclose(
    encoder.encode_tokens(together, tower="passage"),
    np.repeat(due, 200, axis=0),
    atol=1e-6,
  )


def test_padding_alone_is_a_zero_vector():
  ids = np.array([[5, 1, 0], [0, 0, 0]], np.int32)
  embeddings = encoder_of().encode_tokens(ids)
  np.testing.assert_array_equal(embeddings[1], np.zeros(24))
  assert embeddings[0].any()
  assert not encoder_of().encode_tokens(ids[1:]).any()


@pytest.mark.parametrize(
  ("ids", "message"),
  [
    (np.zeros(3, np.int32), r"integers \[n, L\]"),
    (np.ones((1, 3)), "float64"),
    (np.ones((1, 3), bool), "bool"),
    (np.array([[4, -1]]), "token id -1"),
    (np.array([[4, VOCAB_SIZE]]), "0 to 49"),
  ],
)
def test_bad_token_ids(ids, message):
  with pytest.raises(ValueError, match=message):
    encoder_of(vocab_size=VOCAB_SIZE).encode_tokens(ids)


def test_a_diverged_model_is_found_out():
  with pytest.raises(ValueError, match="diverged"):
    encoder_of(params=np.full_like(TABLE, np.nan)).encode_queries(["a"])


def test_a_model_without_vocabulary_takes_ids():
  encoder = encoder_of(tokenizer=None)
  assert encoder.encode_tokens(np.array([[5, 1]])).shape == (1, 24)
  with pytest.raises(ValueError, match="vocabulary"):
    encoder.encode_queries(["a"])


def foreign(encoder):
  """The same towers as a library of its own, without packing."""

  def function(tokens, tower):
    if not len(tokens):
      return np.zeros((0, 24), np.float32)
    segments = (tokens > 0).astype(np.int32)
    one = towers_of(encoder).functions[tower]
    return np.asarray(one(towers_of(encoder).params, tokens, segments, 1)[:, 0])

  return encode.Encoder(foreign_towers.ForeignTowers(function), Words())


def test_another_library_may_compute():
  own = encoder_of()
  other, texts, done = foreign(own), [*random_texts(9, 40), ""], []
  for tower in ("query", "passage"):
    actual, num_cut = other.encode_texts(texts, tower, done.append)
    due, due_cut = own.encode_texts(texts, tower)
    np.testing.assert_allclose(actual, due, atol=1e-6)
    assert num_cut == due_cut and sum(done) == len(texts)
    done.clear()
  assert other.encode_queries([]).shape == (0, 24)
  ids = np.array([[0, 0, 0], [5, 6, 0]], np.int32)
  actual = other.encode_tokens(ids)
  np.testing.assert_allclose(actual, own.encode_tokens(ids), atol=1e-6)
  assert not actual[0].any() and other.mesh is None


def test_batches_are_small_where_a_cpu_computes():
  texts, done = ["a " * 300] * 16, []
  encoder_of(passage_length=256).encode_texts(texts, "passage", done.append)
  assert done == [8, 8]  # Rows of 256 cells: 2,048.
  done.clear()
  larger = encoder_of(passage_length=256, batch_tokens=8_192)
  larger.encode_texts(texts, "passage", done.append)
  assert sum(done) == 16 and len(done) == 1


@pytest.mark.parametrize(
  ("mistake", "message"),
  [
    (lambda encoder: encoder.encode_queries("how"), "put it into"),
    (lambda encoder: encoder.encode_passages({"text": "a"}), "put it into"),
    (lambda encoder: encoder.encode_passages([{"title": "a"}]), "with text"),
    (lambda encoder: encoder.encode_passages([{"text": 3}]), "int"),
    (lambda encoder: encoder.encode_passages([3]), "a passage is 3"),
    (lambda encoder: encoder.encode_texts(["a"], "doc"), "tower is 'doc'"),
    (lambda encoder: encoder.encode_tokens([[1]], "doc"), "tower is 'doc'"),
    (lambda _: encoder_of(batch_tokens=0), "batch_tokens is 0"),
  ],
)
def test_mistakes(mistake, message):
  with pytest.raises(ValueError, match=message):
    mistake(encoder_of())
