from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from gtr_jax import partitioning
from gtr_jax.checkpoints import names, t5x
from gtr_jax.training import optimizer_state, optimizers, schedules

GOLDENS = [
  ("test_de_t5_tiny.checkpoint_1000", "test_de_t5_tiny_golden.npz"),
  ("trained_legacy", "trained_golden.npz"),
]
PARAMS = {
  "encoder": {
    "encoder_norm": {"scale": np.array([1, 2], np.float32)},
    "layers_0": {"mlp": {"wi": {"kernel": np.ones((2, 3), np.float32)}}},
    "relpos_bias": {"rel_embedding": np.ones((2, 4), np.float32)},
  },
  "projection_layer": {"kernel": np.full((2, 5), 3, np.float32)},
}
GRADS = jax.tree.map(lambda x: np.sign(x) * np.float32(0.5), PARAMS)
ALL = [optimizers.adafactor, optimizers.adamw, optimizers.lion, optimizers.sgd]
DECAYING = [
  (optimizers.adafactor, "weight_decay_rate", 1.0),
  (optimizers.adamw, "weight_decay", 0.1),
  (optimizers.lion, "weight_decay", 0.1),
]


def updates_of(optimizer, params=PARAMS, grads=GRADS, num_steps=1):
  """Flat sum of the updates."""
  state = optimizer.init(params)
  update = jax.jit(optimizer.update)
  start = params
  for _ in range(num_steps):
    updates, state = update(grads, state, params)
    params = optax.apply_updates(params, updates)
  return names.flatten(dict(jax.tree.map(np.subtract, params, start)))


def part(golden, prefix):
  """The arrays under `prefix`, by the rest of their names."""
  found = [k.partition("/") for k in golden if k.startswith(f"{prefix}/")]
  return {name: golden[f"{prefix}/{name}"] for _, _, name in found}


@pytest.mark.parametrize("name, golden", GOLDENS)
def test_adafactor_goes_on_as_t5x(shared_data, name, golden):
  golden = np.load(shared_data / "t5x" / golden)
  checkpoint = t5x.read_t5x(shared_data / "t5x" / name)
  optimizer = optimizers.adafactor(1e-3)
  state = optimizer_state.from_t5x(
    optimizer.init(checkpoint.params), checkpoint
  )
  grads = names.unflatten(part(golden, "grad"))
  updates, _ = jax.jit(optimizer.update)(grads, state, checkpoint.params)
  actual: Any = optax.apply_updates(checkpoint.params, updates)
  actual = names.flatten(actual)
  moved = 0.0
  for parameter, expected in part(golden, "adafactor_step1").items():
    np.testing.assert_allclose(actual[parameter], expected, rtol=0, atol=2e-7)
    moved = max(moved, np.abs(expected - golden[f"param/{parameter}"]).max())
  assert moved > 1e-3, "the golden step does not move the parameters"


def adafactor_definition(param, grads, learning_rate):
  """Algorithm 5 of the paper, T5X's settings, one update a gradient, float64.

  Rows and columns are those of a matrix, with both dimensions of 128 or more.
  """
  param = np.float64(param)
  rows, columns, full = 0.0, 0.0, 0.0
  for count, grad in enumerate(grads, start=1):
    beta = 1.0 - count**-0.8
    square = np.float64(grad) ** 2 + 1e-30
    if param.ndim == 2 and min(param.shape) >= 128:
      rows = beta * rows + (1 - beta) * square.mean(axis=1)
      columns = beta * columns + (1 - beta) * square.mean(axis=0)
      second = np.outer(rows, columns) / rows.mean()
    else:
      second = full = beta * full + (1 - beta) * square
    update = grad / np.sqrt(second)
    update /= max(1.0, np.sqrt(np.mean(update**2)) / 1.0)
    scale = max(np.sqrt(np.mean(param**2)), 1e-3)
    param = param - learning_rate * scale * update
  return param


@pytest.mark.parametrize(
  "shape", [(130, 200), (200, 130), (128, 128), (127, 300), (300,), ()]
)
def test_adafactor_is_its_definition(shape):
  rng = np.random.default_rng(len(shape))
  params = {"kernel": np.asarray(rng.normal(0, 0.1, shape), np.float32)}
  grads = rng.normal(0, 1, (4, *shape)).astype(np.float32)
  grads[2] *= 30  # an outlier that the clipping must catch
  optimizer = optimizers.adafactor(0.1)
  state = optimizer.init(params)
  actual: Any = params
  update = jax.jit(optimizer.update)
  for grad in grads:
    updates, state = update({"kernel": grad}, state, actual)
    actual = optax.apply_updates(actual, updates)
  expected = adafactor_definition(params["kernel"], grads, 0.1)
  assert np.abs(expected - params["kernel"]).max() > 1e-3
  np.testing.assert_allclose(actual["kernel"], expected, rtol=1e-5, atol=1e-6)


def test_factored_moments_are_small():
  params = {"wide": jnp.zeros((128, 512)), "narrow": jnp.zeros((127, 512))}
  state = optimizers.adafactor(1e-3).init(params)
  sizes = sorted(leaf.size for leaf in jax.tree.leaves(state))
  assert sizes == [1, 1, 1, 1, 128, 512, 127 * 512]


def test_tiny_parameters_move_as_if_they_were_of_size_one_thousandth():
  zeros = {"kernel": np.zeros((2, 3), np.float32)}
  grads = {"kernel": np.ones((2, 3), np.float32)}
  moved = updates_of(optimizers.adafactor(0.5), zeros, grads)
  np.testing.assert_allclose(moved["kernel"], -0.5e-3, rtol=1e-6)


@pytest.mark.parametrize("make", ALL)
def test_every_optimizer_goes_downhill(make):
  moved = updates_of(make(1e-2))
  assert all(np.all(change < 0) for change in moved.values())


def test_first_steps_are_known_values():
  """AdamW and Lion move by the learning rate, SGD by it times the gradient."""
  adamw = updates_of(optimizers.adamw(1e-2, weight_decay=0.0))
  lion = updates_of(optimizers.lion(1e-2, weight_decay=0.0))
  sgd = updates_of(optimizers.sgd(1e-2))
  for name, change in sgd.items():
    np.testing.assert_allclose(change, -5e-3, rtol=1e-4)
    np.testing.assert_allclose(adamw[name], -1e-2, rtol=1e-4)
    np.testing.assert_allclose(lion[name], -1e-2, rtol=1e-4)


@pytest.mark.parametrize("make", ALL)
def test_the_schedule_sets_each_step(make):
  schedule = schedules.linear(end_step=2, peak=1e-2, warmup_steps=0)
  once = updates_of(make(schedule), num_steps=1)
  more = updates_of(make(schedule), num_steps=5)  # 1, 1/2, then 0
  for name, change in once.items():
    assert np.all(change < 0)
    assert np.all(more[name] < change)
    assert np.all(more[name] > 1.8 * change)


@pytest.mark.parametrize("make", ALL)
def test_large_gradients_are_cut_to_the_norm(make):
  norm = float(optax.tree.norm(GRADS))
  cut = updates_of(make(1e-2, max_gradient_norm=norm / 10))
  small = jax.tree.map(lambda x: x / np.float32(10), GRADS)
  expected = updates_of(make(1e-2), grads=small)
  whole = updates_of(make(1e-2, max_gradient_norm=norm * 10))
  same = updates_of(make(1e-2))
  for name in cut:
    np.testing.assert_allclose(cut[name], expected[name], rtol=1e-4)
    np.testing.assert_array_equal(whole[name], same[name])


@pytest.mark.parametrize("make, option, factor", DECAYING)
def test_only_kernels_decay(make, option, factor):
  """By rate x parameter; Adafactor's rate is not times the learning rate."""
  plain = updates_of(make(0.1, **{option: 0.0}))
  decayed = updates_of(make(0.1, **{option: 0.01}))
  for name, param in names.flatten(PARAMS).items():
    rate = 0.01 * factor if name.endswith("kernel") else 0.0
    np.testing.assert_allclose(
      decayed[name] - plain[name], -rate * param, atol=1e-6
    )


def test_who_decays_can_be_chosen():
  optimizer = optimizers.adamw(
    1.0, weight_decay=0.5, no_decay=(r"projection_layer/.*",)
  )
  zero = jax.tree.map(np.zeros_like, GRADS)
  moved = updates_of(optimizer, grads=zero)
  for name, param in names.flatten(PARAMS).items():
    still = name.startswith("projection")
    np.testing.assert_allclose(moved[name], 0 if still else -0.5 * param)


@pytest.mark.parametrize("make", ALL)
def test_what_is_frozen_stays_and_the_rest_does_not_notice(make):
  norm = {"max_gradient_norm": 0.1}
  optimizer = make(1e-2, freeze=(r"encoder/.*",), **norm)
  moved = updates_of(optimizer, num_steps=3)
  head = "projection_layer"
  alone = updates_of(
    make(1e-2, **norm), {head: PARAMS[head]}, {head: GRADS[head]}, 3
  )
  for name, change in moved.items():
    if name.startswith("encoder"):
      np.testing.assert_array_equal(change, 0)
    else:
      np.testing.assert_allclose(change, alone[name], rtol=1e-6)


def test_frozen_stays_even_where_gradients_are_not_finite():
  grads = jax.tree.map(np.copy, GRADS)
  grads["encoder"]["encoder_norm"]["scale"][:] = np.inf
  optimizer = optimizers.adamw(1e-2, freeze=(r"encoder/encoder_norm/scale",))
  moved = updates_of(optimizer, grads=grads)
  assert np.all(np.isfinite(moved["projection_layer/kernel"]))
  np.testing.assert_array_equal(moved["encoder/encoder_norm/scale"], 0)


@pytest.mark.parametrize("make", ALL)
def test_scales_change_the_learning_rate_of_a_part(make):
  scales = {r"encoder/layers_0/.*": 0.1, r"encoder/.*": 0.5}
  scaled = updates_of(make(1e-2, learning_rate_scales=scales))
  plain = updates_of(make(1e-2))
  for name, change in scaled.items():
    factor = 0.5 if name.startswith("encoder") else 1.0
    factor = 0.1 if "layers_0" in name else factor  # the first match counts
    np.testing.assert_allclose(change, plain[name] * factor, atol=1e-7)


@pytest.mark.parametrize("make", ALL)
@pytest.mark.parametrize(
  "option",
  [
    {"freeze": ["encoder/layer_0/.*"]},
    {"learning_rate_scales": {"encoder/layer_0/.*": 0.1}},
    {"freeze": ["encoder"]},  # a part of a name is not a name
  ],
)
def test_a_pattern_that_matches_nothing_names_its_neighbours(make, option):
  with pytest.raises(
    ValueError, match="matches no.*nearest.*encoder/"
  ) as error:
    make(1e-2, **option).init(PARAMS)
  assert "\n" not in str(error.value)


@pytest.mark.parametrize(
  "option, match",
  [
    ({"freeze": "encoder/.*"}, "due is a list"),
    ({"freeze": ["encoder/("]}, "no regular expression"),
    ({"learning_rate_scales": {"encoder/.*": 0.0}}, "above 0"),
    ({"learning_rate_scales": {"encoder/.*": -1.0}}, "above 0"),
    ({"max_gradient_norm": 0.0}, "above 0"),
    ({"no_decay": "encoder/.*"}, "due is a list"),
  ],
)
def test_what_makes_no_sense_is_refused(option, match):
  with pytest.raises(ValueError, match=match):
    optimizers.adamw(1e-2, **option)


@pytest.mark.parametrize("make", ALL)
def test_states_are_sharded_as_the_parameters(make, mesh):
  """Also with freezing and masks: each moment is where its parameter is."""
  axes = {"kernel": ("embed", "mlp"), "scale": ("embed",)}
  boxed = {
    "kernel": nn.LogicallyPartitioned(jnp.ones((8, 16)), axes["kernel"]),
    "scale": nn.LogicallyPartitioned(jnp.ones(8), axes["scale"]),
  }
  momentum = (
    {} if make in (optimizers.adamw, optimizers.lion) else {"momentum": 0.9}
  )
  optimizer = make(
    1e-2, freeze=["scale"], learning_rate_scales={"kernel": 0.5}, **momentum
  )
  state = jax.eval_shape(optimizer.init, boxed)
  layout = partitioning.shardings(
    state, mesh, (("embed", "data"), ("mlp", None))
  )
  leaves = list(
    zip(jax.tree.leaves(nn.unbox(state)), jax.tree.leaves(layout), strict=True)
  )
  for leaf, sharding in leaves:
    as_parameter = leaf.shape == (8, 16)
    assert (sharding.spec[:1] == ("data",)) == as_parameter
  assert {(8, 16), (8,)} <= {leaf.shape for leaf, _ in leaves}
