"""The check itself: a copy of the model passes, any other export does not."""

import dataclasses
import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from gtr_jax.data import vocabulary
from gtr_jax.export import check, nearness, probes
from gtr_jax.export import original as original_lib
from gtr_jax.models import dual_encoder, t5_encoder, text_encoder
from gtr_jax.types import TowerName

ONE, FIVE = 2, 3


@dataclasses.dataclass
class Characters:
  """A tokenizer whose "!!!!!!" may as well be "!!!!!", "!" as "!", "!!!!!"."""

  model_bytes = b""
  query_prompt = "query: "
  passage_prompt = ""
  vocab_size: int = 40
  eos_id = 1

  def encode(self, texts, length, tower):
    prompt = self.query_prompt if tower == "query" else self.passage_prompt
    rows = [list(self._ids(prompt + text))[: length - 1] for text in texts]
    return [np.array([*row, self.eos_id], np.int32) for row in rows], 0

  def decode(self, ids):
    spelling = {ONE: "!", FIVE: "!!!!!"}
    return "".join(spelling.get(id_, f"<{id_}>") for id_ in ids)

  def _ids(self, text):
    for part in re.findall("!+|[^!]", text):
      if part[0] == "!":
        yield from [ONE] * (len(part) % 5) + [FIVE] * (len(part) // 5)
      else:
        yield 4 + ord(part) % 36


@pytest.fixture(scope="module")
def original():
  tokenizer = Characters()
  # Without layers, so that nothing here takes long to compile.
  encoder = t5_encoder.T5Encoder(
    num_layers=0, num_heads=1, head_dim=4, mlp_dim=8
  )
  model = dual_encoder.DualEncoder(
    text_encoder.TextEncoder(
      encoder, vocab_size=tokenizer.vocab_size, embed_dim=8, projection_dim=6
    )
  )
  tokens = jnp.ones((1, 2), jnp.int32)
  params = nn.meta.unbox(model.init(jax.random.key(0), tokens, tokens))
  return original_lib.Original(
    model, params["params"], tokenizer, 32, 64, "0123456789abcdef", step=7
  )


@functools.partial(jax.jit, static_argnums=0)
def encode(model, params, ids):
  return model.apply({"params": params}, ids, method="encode_query")


@dataclasses.dataclass
class Copy:
  """An export that is the model; `change_*` make it another."""

  original: original_lib.Original
  change_ids = staticmethod(lambda ids: ids)
  change_embeddings = staticmethod(lambda embeddings: embeddings)

  def token_ids(self, texts, tower):
    return self.change_ids(self._ids(texts, tower))

  def embeddings(self, texts, tower):
    ids = self.change_ids(self._ids(texts, tower))
    embeddings = np.array(
      encode(self.original.model, self.original.params, ids)
    )
    return self.change_embeddings(embeddings)

  def _ids(self, texts, tower):
    length = self.original.length(tower)
    rows, _ = self.original.tokenizer.encode(texts, length, tower)
    return vocabulary.pad(rows, max(map(len, rows), default=1))


def changed(original, **changes):
  copy = Copy(original)
  for name, change in changes.items():
    setattr(copy, name, change)
  return copy


def test_a_copy_passes(original):
  found = check.compare(original, Copy(original))
  assert found.near.max_difference <= found.near.tolerance.difference == 1e-5
  assert found.num_texts > 20 and found.num_ties == 0


def at(place, value):
  def change(array):
    array = array.copy()
    if array.size:
      array[place] = value
    return array

  return change


def padded_more(ids):
  return np.pad(ids, ((0, 0), (0, 1)))


@pytest.mark.parametrize(
  ("change", "message"),
  [
    (at((0, 0), 5), r"reads the query 'how do I parse json' as token ids"),
    (at((1, -1), 5), r"reads the query '' as token ids"),
    (lambda ids: ids[:, ::-1], "reads the query"),
    (padded_more, r"due is \[\d+, 32\]"),
    (lambda ids: ids[:-1], "token ids of"),
  ],
)
def test_other_token_ids_are_refused(original, change, message):
  with pytest.raises(ValueError, match=message):
    check.compare(original, changed(original, change_ids=change))


@pytest.mark.parametrize(
  ("change", "message"),
  [
    (lambda x: x + np.float32(2e-5), "differ by 2.0e-05 from the model's"),
    (at((-1, -1), np.nan), "differ by inf"),
    (lambda x: x.astype(np.float64), "are float64"),
    (lambda x: x[:, :5], r"\[\d+, 5\], the model's float32 \[\d+, 6\]"),
    (lambda x: x if len(x) else x[:, :5], r"\[0, 5\]"),
  ],
)
def test_other_embeddings_are_refused(original, change, message):
  with pytest.raises(ValueError, match=message):
    check.compare(original, changed(original, change_embeddings=change))


def test_the_worst_texts_are_named(original):
  def off(embeddings):
    embeddings = embeddings.copy()
    if len(embeddings) > 3:
      embeddings[2] *= np.float32(-1)
      embeddings[3] += np.float32(1e-3)
    return embeddings

  with pytest.raises(ValueError, match="nothing was kept; worst: ") as error:
    check.compare(original, changed(original, change_embeddings=off))
  named = str(error.value).partition("worst: ")[2]
  assert named.count("cosine") == 3
  assert "the query ' ' (cosine -1.000000)" in named
  assert "the passage ' ' (cosine -1.000000)" in named


def both(query, passage) -> dict[TowerName, np.ndarray]:
  return {"query": query, "passage": passage}


def test_the_nearest_passages_are_counted():
  # Passages on a circle, each query at its own angle.
  angles = np.linspace(0, np.pi, 40)
  circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
  due = both(circle[:1], circle)
  turned = both(circle[7:8], circle)
  assert nearness.top10_overlap(due, due, 0.0) == 1.0
  # Due are passages 0 to 9; seen from 30, the nearest are 25 to 35, and seen
  # from 7, 3 to 11 and one more at either side.
  away = both(circle[30:31], circle)
  assert nearness.top10_overlap(due, away, 0.0) == 0.0
  assert nearness.top10_overlap(due, turned, 0.0) in (0.7, 0.8)
  # Where all are as near, any ten will do.
  assert nearness.top10_overlap(due, turned, 2.0) == 1.0


@pytest.mark.parametrize(
  "found, message",
  [
    ((2e-5, 1.0, 1.0), "embeddings differ by 2.0e-05"),
    ((np.inf, 1.0, 1.0), "embeddings differ by inf"),
    ((1e-6, 0.9999, 1.0), "have a cosine of 0.999900"),
    ((1e-6, 1.0, 0.99), "99.0% of the export's ten nearest passages"),
  ],
)
def test_each_of_the_three_is_required(found, message):
  worst = (nearness.Worst(0.5, 0.1, "query", "a text"),)
  difference, cosine, overlap = found
  near = nearness.Nearness(difference, cosine, overlap, nearness.FLOAT32, worst)
  with pytest.raises(ValueError, match=message) as error:
    near.require("the export's", "the model's")
  assert "worst: the query 'a text' (cosine 0.500000)" in str(error.value)
  good = nearness.Nearness(1e-5, 0.99999, 1.0, nearness.FLOAT32, worst)
  good.require("the export's", "the model's")


def test_a_bfloat16_export_is_compared_with_the_float32_model(original):
  low = dataclasses.replace(original, dtype="bfloat16")
  assert low.written_model.query_encoder.encoder.dtype == "bfloat16"
  assert {x.dtype for x in jax.tree.leaves(low.written_params)} == {
    jnp.dtype(jnp.bfloat16)
  }
  rounded = Copy(dataclasses.replace(low, params=low.written_params))
  found = check.compare(low, rounded)
  assert (
    1e-5 < found.near.max_difference <= found.near.tolerance.difference == 2**-5
  )
  assert found.near.min_cosine >= found.near.tolerance.cosine == 0.995


def test_float16_is_refused(original):
  with pytest.raises(ValueError, match="dtype is float16: T5's activations"):
    dataclasses.replace(original, dtype="float16")


def five_first(ids):
  """Reads "!!!!!!" in the other order."""
  ids = ids.copy()
  place = np.argwhere((ids[:, :-1] == ONE) & (ids[:, 1:] == FIVE))
  for row, column in place:
    ids[row, column : column + 2] = FIVE, ONE
  return ids


def test_equally_likely_readings_are_counted(original):
  other = changed(original, change_ids=five_first)
  texts = probes.short_texts(original.tokenizer)
  num_tied = sum("!!!!!!" in text for text in texts)
  assert num_tied
  assert check.compare(original, other).num_ties == 2 * num_tied


def test_bfloat16_has_its_own_tolerance(original):
  tower = original.model.query_encoder
  low = dual_encoder.DualEncoder(
    tower.clone(encoder=tower.encoder.clone(dtype="bfloat16"))
  )
  original = dataclasses.replace(original, model=low)
  found = check.compare(original, Copy(original))
  assert found.near.max_difference <= found.near.tolerance.difference == 2**-8
  shifted = changed(original, change_embeddings=lambda x: x + np.float32(5e-3))
  with pytest.raises(ValueError, match="at most 4e-03"):
    check.compare(original, shifted)


def test_a_model_that_diverged_is_named(original):
  params = jax.tree.map(lambda array: array * np.nan, original.params)
  broken = dataclasses.replace(original, params=params)
  with pytest.raises(ValueError, match="the model's own query embeddings"):
    check.compare(broken, Copy(original))


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"query_length": 0}, "query_length is 0: give 1 token or more"),
    ({"passage_length": -3}, "passage_length is -3"),
  ],
)
def test_lengths_are_checked(original, change, message):
  with pytest.raises(ValueError, match=message):
    dataclasses.replace(original, **change)


def test_a_vocabulary_of_another_model_is_refused(original):
  with pytest.raises(ValueError, match="use the vocabulary of this model"):
    dataclasses.replace(original, tokenizer=Characters(vocab_size=41))
