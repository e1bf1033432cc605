"""The loss in tiles: the definition in float64, the dense form, its memory."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

from gtr_jax.losses import (
  contrastive,
  false_negatives,
  ranking_metrics,
  tiled,
)

B, P, D = 24, 2, 8
COLUMN_WEIGHT = 0.7  # Each loss has its own share of the gradient.
TEMPERATURE = 0.05


def make(num_passages):
  """Unit vectors, and keys with every reason to be masked."""
  rng = np.random.default_rng(num_passages)
  vectors = rng.normal(size=(B * (1 + num_passages), D))
  vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
  vectors = vectors.astype(np.float32)
  hashes = lambda *shape: rng.integers(-40, 40, shape).astype(np.int32)
  passages = hashes(B, num_passages, 2)
  passages[3, 0] = 0  # No positive: its row still counts it.
  passages[4:9, 1:] = 0  # No hard negatives.
  positives = hashes(B, P, 2)
  positives[:, 0] = passages[:, 0]
  positives[10] = 0  # Nothing known, not even the own positive.
  positives[11:, 1] = 0
  queries = np.zeros((B, 2), np.int32)
  queries[:, 1] = 1 + np.arange(B) % (B - 3)  # Three copies.
  queries[[6, 14], 0] = 77  # One id, two texts.
  queries[10] = 0  # No key: no copy, not even of itself.
  keys = {
    "query_keys": queries,
    "passage_keys": passages,
    "positive_keys": positives,
  }
  return vectors[:B], vectors[B:], keys


def direction(scores, own, counted, smoothing):
  """Mean loss of the rows of a matrix, and its gradient, in float64."""
  losses, gradient = [], np.zeros_like(scores)
  for i, positive in enumerate(own):
    others = [j for j in np.flatnonzero(counted[i]) if j != positive]
    target = np.zeros_like(scores[i])
    target[others] = smoothing / max(len(others), 1)
    target[positive] = 1 - smoothing if others else 1
    cells = [positive, *others]
    log_sum = np.log(np.exp(scores[i, cells]).sum())
    losses.append(log_sum - target[cells] @ scores[i, cells])
    gradient[i, cells] = np.exp(scores[i, cells] - log_sum)
    gradient[i] -= target
  return np.mean(losses), gradient / len(losses)


def definition(
  queries, passages, keys, margin=0.0, smoothing=0.0, temperature=TEMPERATURE
):
  """Losses, metrics and gradients from the whole matrix, in float64."""
  queries, passages = queries.astype(np.float64), passages.astype(np.float64)
  num_passages = keys["passage_keys"].shape[1]
  own = np.arange(B) * num_passages
  cosines = queries @ passages.T
  excluded = np.asarray(
    false_negatives.excluded(*map(jnp.array, keys.values()))
  )
  shifted = cosines.copy()
  shifted[np.arange(B), own] -= margin
  scores = shifted / temperature
  row_loss, gradient = direction(scores, own, ~excluded, smoothing)
  column_loss, columns = direction(
    scores[:, own].T, np.arange(B), ~excluded[:, own].T, smoothing
  )
  gradient[:, own] += COLUMN_WEIGHT * columns.T
  others = ~excluded
  others[np.arange(B), own] = False
  own_cosines = cosines[np.arange(B), own][:, None]
  ranks = 1 + (others & (cosines >= own_cosines)).sum(axis=1)
  cells = np.tile(keys["passage_keys"].any(axis=2).reshape(1, -1), (B, 1))
  cells[np.arange(B), own] = False
  metrics = {
    "accuracy": (ranks == 1).mean(),
    "mrr": (1 / ranks).mean(),
    "masked_rate": (excluded & cells).sum() / cells.sum(),
  }
  gradients = (
    gradient @ passages / temperature,
    gradient.T @ queries / temperature,
    -(gradient * scores).sum() / temperature,
  )
  return (row_loss, column_loss, metrics), gradients


def dense(queries, passages, temperature, keys, margin, label_smoothing):
  """The same from the functions of the objective's dense form."""
  num_passages = keys["passage_keys"].shape[1]
  own = jnp.arange(B) * num_passages
  excluded = false_negatives.excluded(**keys)
  cosines = jnp.matmul(queries, passages.T, precision="highest")
  scores = cosines.at[jnp.arange(B), own].add(-margin) / temperature
  loss = functools.partial(
    contrastive.softmax_loss, label_smoothing=label_smoothing
  )
  rows = loss(scores, own, excluded)
  columns = loss(scores[:, own].T, jnp.arange(B), excluded[:, own].T)
  ranks = ranking_metrics.positive_ranks(cosines, own, excluded)
  metrics = {
    "accuracy": (ranks == 1).astype(jnp.float32).mean(),
    "mrr": (1 / ranks).mean(),
  }
  return rows.mean(), columns.mean(), metrics


def in_tiles(queries, passages, temperature, keys, **settings):
  return tiled.contrastive_loss(
    queries, passages, temperature, **keys, **settings
  )


def with_gradients(
  loss, queries, passages, keys, temperature=TEMPERATURE, **settings
):
  """(row loss, column loss, metrics), gradients."""

  def total(queries, passages, temperature):
    results = loss(queries, passages, temperature, keys, **settings)
    return results[0] + COLUMN_WEIGHT * results[1], results

  both = jax.jit(jax.value_and_grad(total, argnums=(0, 1, 2), has_aux=True))
  (_, results), gradients = both(queries, passages, jnp.float32(temperature))
  return results, gradients


def make_mesh(shape):
  devices = jax.devices()[: np.prod(shape)]
  axes = ("slice", "data", "model")
  return jax.make_mesh(shape, axes, (AxisType.Auto,) * 3, devices=devices)


def assert_close(actual, expected, tolerance=1e-5):
  """Relative to the largest number of each array."""
  for path, value in jax.tree.leaves_with_path(expected):
    found = functools.reduce(lambda tree, key: tree[_name(key)], path, actual)
    error = np.abs(np.asarray(found) - np.asarray(value)).max()
    assert error <= tolerance * (np.abs(value).max() + 0.01), path


def _name(key):
  return key.key if hasattr(key, "key") else key.idx


@pytest.mark.parametrize(
  ("num_passages", "margin", "smoothing", "tile", "mesh_shape"),
  [
    (1, 0.0, 0.0, B, None),
    (1, 0.2, 0.1, 1, None),
    (2, 0.0, 0.1, 5, None),
    (3, 0.2, 0.0, 7, None),
    (2, 0.2, 0.1, 4, (1, 2, 1)),
    (2, 0.2, 0.1, 4, (1, 4, 1)),
    (2, 0.2, 0.1, 2, (1, 8, 1)),
    (2, 0.2, 0.1, 3, (2, 2, 2)),
    (1, 0.0, 0.0, 1, (2, 4, 1)),
  ],
)
def test_is_its_definition(num_passages, margin, smoothing, tile, mesh_shape):
  queries, passages, keys = make(num_passages)
  run = functools.partial(
    with_gradients,
    in_tiles,
    queries,
    passages,
    keys,
    margin=margin,
    label_smoothing=smoothing,
    tile=tile,
  )
  if mesh_shape is None:
    actual = run()
  else:
    with jax.set_mesh(make_mesh(mesh_shape)):
      actual = run()
  assert_close(actual, definition(queries, passages, keys, margin, smoothing))


@pytest.mark.parametrize("num_passages", [1, 3])
def test_is_the_dense_form(num_passages):
  batch = make(num_passages)
  settings = {"margin": 0.1, "label_smoothing": 0.2}
  expected = with_gradients(dense, *batch, **settings)
  assert_close(with_gradients(in_tiles, *batch, tile=9, **settings), expected)


def test_a_cold_temperature_neither_overflows_nor_vanishes():
  batch = make(1)
  cold = 2e-3  # exp(1 / cold) is 1e217: a float64, far beyond a float32.
  actual = with_gradients(in_tiles, *batch, temperature=cold, tile=5)
  expected = definition(*batch, temperature=cold)
  # Float32 scores of 500 are known to 3e-5, which exp hands on.
  assert_close(actual, expected, tolerance=1e-3)


def test_a_model_blind_to_the_texts_ranks_every_positive_last():
  _, _, keys = make(2)
  keys = {name: np.zeros_like(key) for name, key in keys.items()}
  keys["passage_keys"][..., 1] = 1 + np.arange(2 * B).reshape(B, 2)
  vector = np.random.default_rng(0).normal(size=768)
  vector = (vector / np.linalg.norm(vector)).astype(np.float32)
  loss = jax.jit(functools.partial(in_tiles, tile=5))
  rows, columns, metrics = loss(
    np.tile(vector, (B, 1)),
    np.tile(vector, (2 * B, 1)),
    jnp.float32(TEMPERATURE),
    keys,
  )
  np.testing.assert_allclose(rows, np.log(2 * B), rtol=1e-5)
  np.testing.assert_allclose(columns, np.log(B), rtol=1e-5)
  assert metrics["accuracy"] == 0
  np.testing.assert_allclose(metrics["mrr"], 1 / (2 * B), rtol=1e-6)
  assert metrics["masked_rate"] == 0


def arrays_of(jaxpr):
  """Every array that a program makes or takes, sub-programs included."""
  for variable in (*jaxpr.invars, *jaxpr.constvars):
    yield variable.aval
  for equation in jaxpr.eqns:
    yield from (variable.aval for variable in equation.outvars)
    for parameter in jax.tree.leaves(
      equation.params,
      is_leaf=lambda x: hasattr(x, "eqns") or hasattr(x, "jaxpr"),
    ):
      inner = getattr(parameter, "jaxpr", parameter)
      if hasattr(inner, "eqns"):
        yield from arrays_of(inner)


@pytest.mark.parametrize("mesh_shape", [None, (1, 8, 1)])
def test_no_array_is_as_large_as_the_score_matrix(mesh_shape):
  size, num_passages, tile = 1024, 2, 16
  floats = lambda *shape: jax.ShapeDtypeStruct(shape, jnp.float32)
  ints = lambda *shape: jax.ShapeDtypeStruct(shape, jnp.int32)
  keys = {
    "query_keys": ints(size, 2),
    "passage_keys": ints(size, num_passages, 2),
    "positive_keys": ints(size, P, 2),
  }

  def gradients(queries, passages, temperature, keys):
    return with_gradients(in_tiles, queries, passages, keys, tile=tile)

  def trace():
    return jax.make_jaxpr(gradients)(
      floats(size, D), floats(size * num_passages, D), floats(), keys
    )

  if mesh_shape is None:
    jaxpr, devices = trace(), 1
  else:
    with jax.set_mesh(make_mesh(mesh_shape)):
      jaxpr, devices = trace(), 8
  sizes = [getattr(array, "size", 0) for array in arrays_of(jaxpr.jaxpr)]
  assert tile * tile * num_passages in sizes  # The walk does see the tiles.
  # Embeddings, and [B, K, 2] keys, are the largest; so are the residuals.
  assert max(sizes) == size * num_passages * D
  assert max(sizes) < (size // devices) ** 2 * num_passages


def test_residuals_are_embeddings_keys_and_vectors():
  queries, passages, keys = make(2)
  loss = lambda q, p: in_tiles(q, p, jnp.float32(0.1), keys, tile=4)[:2]
  pull = jax.eval_shape(lambda q, p: jax.vjp(loss, q, p)[1], queries, passages)
  shapes = {leaf.shape for leaf in jax.tree.leaves(pull)}
  assert (B, D) in shapes
  assert shapes <= {
    (),
    (B,),
    (B, D),
    (2 * B, D),
    (B, 2),
    (B, 2, 2),
    (B, P, 2),
  }


def test_queries_that_do_not_divide_among_the_devices_are_refused():
  queries, passages, keys = make(1)
  keys = {name: key[:-1] for name, key in keys.items()}
  with (
    jax.set_mesh(make_mesh((1, 8, 1))),
    pytest.raises(ValueError, match="23 queries do not divide among 8 devices"),
  ):
    in_tiles(queries[:-1], passages[:-1], jnp.float32(1), keys, tile=4)


def test_a_tile_of_nothing_is_refused():
  queries, passages, keys = make(1)
  with pytest.raises(ValueError, match="SCORE_TILE is 0"):
    in_tiles(queries, passages, jnp.float32(1), keys, tile=0)
