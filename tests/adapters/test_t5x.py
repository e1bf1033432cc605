"""Our objective in T5X's own trainer, partitioner and checkpoints.

T5X is on no package index: with its source on the path these run, as
docs/t5x.md tells; elsewhere they are skipped, and the seams that need no T5X
are tested beside this file.
"""

import importlib.util
import json
import pathlib
import subprocess
import sys
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import meta
from jax.sharding import Mesh

from benchmarks import stand_ins
from gtr_jax.checkpoints import names, t5x
from gtr_jax.data import synthetic
from gtr_jax.models import dual_encoder, t5_encoder, text_encoder
from gtr_jax.objectives import contrastive, temperature
from gtr_jax.run import import_, model_directory
from gtr_jax.training import optimizers
from gtr_jax.training import state as state_lib
from gtr_jax.training import step as step_lib

ROOT = pathlib.Path(__file__).parents[2]
B = 16


@pytest.fixture(scope="module")
def adapter() -> Any:
  """The module under test, with T5X behind it."""
  if importlib.util.find_spec("t5x") is None:
    pytest.skip("T5X is not installed; it is on no package index")
  stand_ins.install()
  with warnings.catch_warnings():  # T5X's, at their import.
    warnings.simplefilter("ignore")
    from gtr_jax.adapters import t5x as module

    for name in ("checkpoints", "partitioning", "trainer", "utils"):
      importlib.import_module(f"t5x.{name}")
  return module


# T5X names things that are on their way out of JAX and Orbax.
pytestmark = pytest.mark.filterwarnings("ignore")


def t5x_module(name: str) -> Any:
  return importlib.import_module(f"t5x.{name}")


def make_objective(**options):
  encoder = t5_encoder.T5Encoder(2, 2, 8, 32)
  tower = text_encoder.TextEncoder(encoder, 96, 16, projection_dim=16)
  return contrastive.Contrastive(dual_encoder.DualEncoder(tower), **options)


def make_model(adapter, objective, optimizer=None, **options):
  if optimizer is None:
    optimizer = t5x_module("adafactor").Adafactor(
      logical_factor_rules=adapter.logical_factor_rules()
    )
  return adapter.DualEncoderModel(
    objective.model, objective, FakeVocabulary(), optimizer, **options
  )


class FakeVocabulary:
  eos_id = 1


def make_batch(num_negatives=2) -> Any:
  """With copies and missing negatives: the masks have work."""
  batch = synthetic.SyntheticBatches(
    B,
    num_negatives,
    query_length=8,
    passage_length=12,
    vocab_size=96,
    seed=3,
  ).batch_at(0)
  batch["passage_keys"][3, 0] = batch["passage_keys"][5, 0]
  batch["query_keys"][1] = batch["query_keys"][7]
  if num_negatives:
    batch["passage_keys"][2, 1] = 0
    batch["passage_tokens"][2, 1] = 0
  return {key: batch[key] for key in batch if key != "example_ids"}


def make_partitioner(adapter, shape=(4, 2), axes=("data", "model"), dims=1):
  """T5X's, on a mesh as it makes them where there are several devices.

  On one CPU process T5X itself makes one of the model axis alone.
  """
  lib = t5x_module("partitioning")
  rules = lib.standard_logical_axis_rules(
    parameter_partitioning_dims=dims,
    additional_rules=adapter.logical_axis_rules(),
  )
  several = "replica" in axes
  partitioner = lib.PjitPartitioner(
    num_partitions=1,
    logical_axis_rules=rules,
    ici_mesh_shape=shape if several else None,
    dcn_mesh_shape=(1,) * len(shape) if several else None,
  )
  devices = np.array(jax.devices()[: np.prod(shape)]).reshape(shape)
  partitioner.__dict__["mesh"] = Mesh(devices, axes)
  return partitioner


def shapes(batch):
  return {name: array.shape for name, array in batch.items()}


def make_trainer(model, partitioner, batch, num_microbatches=None):
  """(T5X's trainer, its first state), made as `t5x.train` makes them."""
  initializer = t5x_module("utils").TrainStateInitializer(
    model.optimizer_def,
    model.get_initial_variables,
    shapes(batch),
    partitioner,
    {name: array.dtype for name, array in batch.items()},
  )
  state = initializer.from_scratch(jax.random.PRNGKey(0))
  trainer = t5x_module("trainer").Trainer(
    model=model,
    train_state=state,
    partitioner=partitioner,
    eval_names=["eval"],
    summary_dir=None,
    train_state_axes=initializer.train_state_axes,
    rng=jax.random.PRNGKey(1),
    learning_rate_fn=lambda step: 0.01,
    num_microbatches=num_microbatches,
  )
  return trainer, initializer


def train(trainer, batch, num_steps=1):
  """Runs T5X's loop; its metrics as numbers."""
  metrics = trainer.train(iter([batch] * num_steps), num_steps).result()
  return {name: getattr(x, "value", x) for name, x in metrics.items()}


def own_training(objective, optimizer, params, batch, num_steps=1):
  """The same steps by our own trainer's step, on one device."""
  state = state_lib.TrainState(
    step=jnp.int32(0),
    params=params,
    opt_state=optimizer.init(params),
    rng=jax.random.key_data(jax.random.key(0)),
  )
  metrics = {}
  step = jax.jit(
    lambda state: step_lib.train_step(
      state, batch, objective=objective, optimizer=optimizer
    )
  )
  for _ in range(num_steps):
    state, metrics = step(state)
  return state.params, metrics


def to_host(params):
  return jax.tree.map(np.asarray, dict(params))


def assert_close(actual, due, atol, rtol=0.0):
  actual, due = names.flatten(to_host(actual)), names.flatten(to_host(due))
  assert actual.keys() == due.keys()
  for name, array in due.items():
    np.testing.assert_allclose(
      actual[name], array, atol=atol, rtol=rtol, err_msg=name
    )


def test_variables_are_those_of_the_objective(adapter):
  objective, batch = make_objective(), make_batch()
  model = make_model(adapter, objective, num_negatives=2)
  rng = jax.random.PRNGKey(0)
  variables = model.get_initial_variables(rng, shapes(batch))
  assert_close(
    variables["params"].unfreeze(),
    meta.unbox(objective.init(rng, batch)),
    atol=0,
  )


SLICES = {"shape": (2, 2, 2), "axes": ("replica", "data", "model")}
# Options of the objective, and of T5X's mesh and rules.
FORMS = {
  "plain": ({}, {}),
  "chunks": ({"num_chunks": 3}, {}),
  "ring": ({"score_tile": 2}, {}),
  "slices": ({"num_chunks": 2, "score_tile": 2}, SLICES),
  "spread": ({"num_chunks": 2}, {"dims": 2}),
  "scan": ({"scan_layers": True, "temperature": temperature.Learned(0.1)}, {}),
  "model axis alone": ({}, {"shape": (1, 2)}),
}


@pytest.mark.parametrize(
  "form",
  [
    pytest.param(form, marks=[] if form == "slices" else pytest.mark.slow)
    for form in FORMS
  ],
)
def test_loss_and_gradients_are_our_trainers(adapter, form):
  options, mesh = FORMS[form]
  objective, batch = make_objective(**options), make_batch()
  model = make_model(adapter, objective, num_negatives=2)
  partitioner = make_partitioner(adapter, **mesh)
  trainer, _ = make_trainer(model, partitioner, batch)
  params = trainer.train_state.params

  def loss(objective_loss):
    return jax.value_and_grad(objective_loss, has_aux=True)

  theirs = partitioner.partition(
    loss(lambda p, batch: model.loss_fn(p, batch, jax.random.PRNGKey(0))),
    in_axis_resources=(
      trainer._train_state_axes.params,
      partitioner.data_partition_spec,
    ),
    out_axis_resources=None,
  )
  (actual, metrics), gradients = theirs(params, batch)
  plain = make_objective(
    temperature=options.get("temperature", temperature.Fixed())
  )
  own = jax.jit(loss(lambda p: plain.loss(p, batch, None)))
  (due, own_metrics), own_gradients = own(to_host(params.unfreeze()))
  np.testing.assert_allclose(actual, due, rtol=1e-5)
  for name in ("accuracy", "mrr", "masked_rate", "loss_query_to_passage"):
    value = metrics[name].compute()
    np.testing.assert_allclose(value, own_metrics[name], rtol=1e-5)
  largest = max(np.abs(x).max() for x in jax.tree.leaves(own_gradients))
  assert_close(gradients.unfreeze(), own_gradients, atol=1e-5 * largest)


@pytest.mark.slow
def test_steps_of_t5x_adafactor_are_ours(adapter):
  objective, batch = make_objective(), make_batch()
  model = make_model(adapter, objective, num_negatives=2)
  trainer, _ = make_trainer(model, make_partitioner(adapter), batch)
  before = to_host(trainer.train_state.params.unfreeze())
  metrics = train(trainer, batch, 3)
  params, own = own_training(
    objective, optimizers.adafactor(0.01), before, batch, 3
  )
  # Adafactor divides by roots of small moments: rounding grows.
  assert_close(trainer.train_state.params.unfreeze(), params, atol=2e-5)
  assert metrics["loss"] > own["loss"]  # Their mean over steps; it falls.
  assert metrics["learning_rate"] == pytest.approx(0.01)
  assert metrics["timing/examples_per_second"] > 0


@pytest.mark.slow
def test_optax_optimizers_of_ours_run_in_t5x(adapter):
  objective, batch = make_objective(), make_batch()
  ours = optimizers.adamw(1e-3, weight_decay=0.1, max_gradient_norm=1.0)
  wrapped = t5x_module("optimizers").OptaxWrapper(ours)
  model = make_model(adapter, objective, wrapped, num_negatives=2)
  trainer, _ = make_trainer(model, make_partitioner(adapter), batch)
  before = to_host(trainer.train_state.params.unfreeze())
  train(trainer, batch, 2)
  params, _ = own_training(objective, ours, before, batch, 2)
  # The first steps of Adam have one size, whatever the gradient.
  assert_close(trainer.train_state.params.unfreeze(), params, atol=1e-5)


@pytest.mark.parametrize("num_microbatches", [2, 4])
def test_microbatches_are_refused(adapter, num_microbatches):
  batch = make_batch()
  model = make_model(adapter, make_objective(), num_negatives=2)
  partitioner = make_partitioner(adapter)
  trainer, _ = make_trainer(model, partitioner, batch, num_microbatches)
  message = f"NUM_CHUNKS = {num_microbatches}, which"
  with pytest.raises(ValueError, match=message):
    train(trainer, batch)
  with pytest.raises(ValueError, match=message):
    trainer.compile_train(batch)


@pytest.mark.slow
def test_one_microbatch_is_the_batch(adapter):
  batch = make_batch()
  model = make_model(adapter, make_objective(), num_negatives=2)
  trainer, _ = make_trainer(model, make_partitioner(adapter), batch, 1)
  assert train(trainer, batch)["loss"] > 0


@pytest.mark.slow
def test_microbatches_are_refused_where_the_config_tells_the_batch(adapter):
  """Also if the variables were made for another number of rows."""
  batch = make_batch()
  model = make_model(
    adapter, make_objective(), num_negatives=2, batch_size=2 * B
  )
  trainer, _ = make_trainer(model, make_partitioner(adapter), batch)
  with pytest.raises(ValueError, match="given 16 of the 32 queries"):
    train(trainer, batch)


@pytest.mark.slow
def test_evaluation_has_no_dropout_and_any_size(adapter):
  objective, batch = make_objective(), make_batch()
  model = make_model(adapter, objective, num_negatives=2)
  trainer, _ = make_trainer(model, make_partitioner(adapter), batch)
  half: Any = {name: array[: B // 2] for name, array in batch.items()}
  metrics = trainer.eval({"eval": iter([half])})["eval"]
  params = to_host(trainer.train_state.params.unfreeze())
  due, _ = objective.loss(params, half, None)
  np.testing.assert_allclose(metrics["loss"].value, due, rtol=1e-5)


@pytest.mark.slow
def test_scores_by_mode(adapter):
  objective, batch = make_objective(), make_batch(0)
  params = meta.unbox(objective.init(jax.random.key(0), batch))
  due = {
    "query": dual_encoder.encode(
      objective.model, params, batch["query_tokens"], "query"
    ),
    "passage": dual_encoder.encode(
      objective.model, params, batch["passage_tokens"][:, 0], "passage"
    ),
  }
  for mode, embeddings in due.items():
    model = make_model(adapter, objective, inference_mode=mode)
    np.testing.assert_array_equal(model.score_batch(params, batch), embeddings)
    np.testing.assert_array_equal(
      model.predict_batch(params, batch), embeddings
    )
  model = make_model(adapter, objective)
  cosines, aux = model.score_batch(params, batch)
  np.testing.assert_array_equal(aux["passage_embeddings"], due["passage"])
  expected = np.sum(np.asarray(due["query"]) * np.asarray(due["passage"]), 1)
  np.testing.assert_allclose(cosines, expected, atol=1e-6)
  with pytest.raises(ValueError, match="INFERENCE_MODE is 'encode_left'"):
    make_model(adapter, objective, inference_mode="encode_left")


def test_packing_of_t5x_is_refused(adapter):
  model = make_model(adapter, make_objective())
  with pytest.raises(ValueError, match="utils.DatasetConfig.pack = False"):
    model.FEATURE_CONVERTER_CLS(pack=True)
  converter = model.FEATURE_CONVERTER_CLS(pack=False)
  assert "positive_keys" in converter.MODEL_FEATURES


def save_checkpoint(trainer, partitioner, folder):
  folder.mkdir()
  utils = t5x_module("utils")
  manager = utils.create_orbax_checkpoint_manager(
    save_cfg=utils.SaveCheckpointConfig(period=1, dtype="float32"),
    restore_cfg=None,
    train_state=trainer.train_state,
    partitioner=partitioner,
    ds_iter=None,
    model_dir=str(folder),
  )
  manager.save(trainer.train_state, [])
  manager.wait_until_finished()
  manager.close()


@pytest.mark.slow
def test_checkpoints_of_t5x_are_imported(adapter, tmp_path, capsys):
  objective, batch = make_objective(), make_batch()
  model = make_model(adapter, objective, num_negatives=2)
  partitioner = make_partitioner(adapter)
  trainer, _ = make_trainer(model, partitioner, batch)
  train(trainer, batch, 2)
  save_checkpoint(trainer, partitioner, tmp_path / "t5x")
  flags = [f"--checkpoint={tmp_path / 't5x'}", f"--output={tmp_path / 'model'}"]
  assert import_.main(["--format=t5x", "--json", *flags]) == 0
  result = json.loads(capsys.readouterr().out.splitlines()[-1])
  assert result["unused"] == result["missing"] == []
  loaded = model_directory.load(tmp_path / "model")
  assert loaded.step == 2
  assert_close(loaded.params, trainer.train_state.params.unfreeze(), atol=0)


@pytest.mark.parametrize(
  "folder", ["trained_legacy", "trained_orbax_ocdbt", "trained_orbax_zarr"]
)
def test_checkpoints_of_t5x_restore_into_it(adapter, shared_data, folder):
  """By T5X's own code; then the embeddings are those that T5X computed."""
  path = next((shared_data / "t5x" / folder).glob("checkpoint_*")).resolve()
  encoder = t5_encoder.T5Encoder(2, 2, 2, 8)
  tower = text_encoder.TextEncoder(encoder, 32128, 4)
  objective = contrastive.Contrastive(dual_encoder.DualEncoder(tower))
  golden = np.load(shared_data / "t5x" / "trained_golden.npz")
  features = {
    name: golden[name]
    for name in ("left_encoder_input_tokens", "right_encoder_input_tokens")
  }
  model = make_model(adapter, objective)
  utils = t5x_module("utils")
  partitioner = make_partitioner(adapter)
  initializer = utils.TrainStateInitializer(
    model.optimizer_def,
    model.get_initial_variables,
    shapes(features),
    partitioner,
  )
  state, _ = utils.create_checkpoint_manager_and_restore(
    initializer,
    partitioner,
    utils.RestoreCheckpointConfig(path=str(path), mode="specific"),
    str(path),
    jax.random.PRNGKey(0),
    use_orbax=folder != "trained_legacy",
  )
  assert int(state.step) == 20
  due = t5x.read_t5x(path).params
  assert_close(state.params.unfreeze(), due, atol=0)
  for side, tower_name in (("left", "query"), ("right", "passage")):
    actual = model.encode(state.params, features, tower_name)
    np.testing.assert_allclose(
      np.asarray(actual), golden[f"float32/{side}_embeddings"], atol=1e-5
    )


def test_without_t5x_the_import_is_one_clear_line():
  code = "import sys; sys.modules['t5x'] = None; import gtr_jax.adapters.t5x"
  done = subprocess.run(
    [sys.executable, "-c", code], capture_output=True, text=True
  )
  last = done.stderr.splitlines()[-1]
  assert last.startswith("ImportError: gtr_jax.adapters.t5x needs t5x")
  assert "google-research/t5x@" in last and "docs/t5x.md" in last
