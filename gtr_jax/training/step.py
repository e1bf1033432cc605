"""One update."""

import functools
from collections.abc import Callable

import jax
import optax
from flax import linen as nn
from jax.sharding import Mesh

from gtr_jax import partitioning
from gtr_jax.objectives import objective as objective_lib
from gtr_jax.training import state as state_lib
from gtr_jax.types import Batch, Metrics

Step = Callable[
  [state_lib.TrainState, Batch], tuple[state_lib.TrainState, Metrics]
]


def train_step(
  state: state_lib.TrainState,
  batch: Batch,
  *,
  objective: objective_lib.Objective,
  optimizer: optax.GradientTransformation,
) -> tuple[state_lib.TrainState, Metrics]:
  """One update: loss and gradients on the global batch, then the optimizer."""
  rng = jax.random.fold_in(jax.random.wrap_key_data(state.rng), state.step)
  grad_fn = jax.value_and_grad(objective.loss, has_aux=True)
  (loss, metrics), grads = grad_fn(state.params, batch, rng)
  updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
  params = optax.apply_updates(state.params, updates)
  metrics = {
    "loss": loss,
    **metrics,
    "grad_norm": optax.tree.norm(grads),
    "param_norm": optax.tree.norm(params),
  }
  return state.replace(
    step=state.step + 1, params=params, opt_state=opt_state
  ), metrics


def compile_step(
  objective: objective_lib.Objective,
  optimizer: optax.GradientTransformation,
  mesh: Mesh,
  layout: state_lib.TrainState,
  rules: partitioning.Rules = partitioning.STANDARD_RULES,
) -> Step:
  """`train_step` for a mesh; the old state's memory becomes the new one's.

  Args:
    objective: the loss.
    optimizer: the update.
    mesh: the devices.
    layout: shardings of the state.
    rules: from logical axes to the mesh's.
  """
  compiled = jax.jit(
    functools.partial(train_step, objective=objective, optimizer=optimizer),
    donate_argnums=0,
    out_shardings=(layout, None),
  )

  def step(state, batch):
    with jax.set_mesh(mesh), nn.logical_axis_rules(rules):
      return compiled(state, batch)

  return step
