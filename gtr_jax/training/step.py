"""One update."""

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from gtr_jax import partitioning
from gtr_jax.objectives import objective as objective_lib
from gtr_jax.training import state as state_lib
from gtr_jax.types import Batch, Metrics, Params

# From a state and the batches of one update.
Step = Callable[
  [state_lib.TrainState, Sequence[Batch]],
  tuple[state_lib.TrainState, Metrics],
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
  grads, metrics = _gradient(state.params, batch, rng, objective)
  return _updated(state, grads, metrics, optimizer)


def compile_step(
  objective: objective_lib.Objective,
  optimizer: optax.GradientTransformation,
  mesh: Mesh,
  layout: state_lib.TrainState,
  rules: partitioning.Rules = partitioning.STANDARD_RULES,
) -> Step:
  """An update for a mesh; the old state's memory becomes the new one's.

  Given one batch, it is `train_step`.  Given several, the gradient is the mean
  of theirs: each is a whole contrastive batch, whose queries see no negatives
  of the others.  (To save memory without that loss, an objective encodes one
  batch in chunks.)

  Args:
    objective: the loss.
    optimizer: the update.
    mesh: the devices.
    layout: shardings of the state.
    rules: from logical axes to the mesh's.
  """
  whole = jit_step(objective, optimizer, layout)
  first = jax.jit(
    functools.partial(_first, objective=objective),
    out_shardings=(layout.params, None),
  )
  added = jax.jit(
    functools.partial(_added, objective=objective),
    donate_argnums=0,
    out_shardings=(layout.params, None),
  )
  update = jax.jit(
    functools.partial(_update_by_mean, optimizer=optimizer),
    donate_argnums=(0, 1),
    out_shardings=(layout, None),
  )

  def step(state, batches):
    with partitioning.in_use(mesh, rules):
      if len(batches) == 1:
        return whole(state, batches[0])
      total = first(state, batches[0])
      for number, batch in enumerate(batches[1:], 1):
        total = added(total, state, batch, np.int32(number))
      return update(state, total, np.float32(len(batches)))

  return step


def jit_step(
  objective: objective_lib.Objective,
  optimizer: optax.GradientTransformation,
  layout: state_lib.TrainState,
) -> jax.stages.Wrapped:
  """`train_step` under jit; to be traced with the mesh and the rules set."""
  return jax.jit(
    functools.partial(train_step, objective=objective, optimizer=optimizer),
    donate_argnums=0,
    out_shardings=(layout, None),
  )


def _gradient(
  params: Params,
  batch: Batch,
  rng: jax.Array,
  objective: objective_lib.Objective,
) -> tuple[Params, Metrics]:
  grad_fn = jax.value_and_grad(objective.loss, has_aux=True)
  (loss, metrics), grads = grad_fn(params, batch, rng)
  return grads, {"loss": loss, **metrics}


def _first(state, batch, *, objective):
  rng = jax.random.fold_in(jax.random.wrap_key_data(state.rng), state.step)
  return _gradient(state.params, batch, rng, objective)


def _added(total, state, batch, number, *, objective):
  """`total` and the gradient and the metrics of one more batch."""
  rng = jax.random.fold_in(jax.random.wrap_key_data(state.rng), state.step)
  rng = jax.random.fold_in(rng, number)
  more = _gradient(state.params, batch, rng, objective)
  return jax.tree.map(jnp.add, total, more)


def _update_by_mean(state, total, num_batches, *, optimizer):
  grads, metrics = jax.tree.map(lambda x: x / num_batches, total)
  return _updated(state, grads, metrics, optimizer)


def _updated(
  state: state_lib.TrainState,
  grads: Params,
  metrics: Metrics,
  optimizer: optax.GradientTransformation,
) -> tuple[state_lib.TrainState, Metrics]:
  updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
  params = optax.apply_updates(state.params, updates)
  metrics = {
    **metrics,
    "grad_norm": optax.tree.norm(grads),
    "param_norm": optax.tree.norm(params),
  }
  return state.replace(
    step=state.step + 1, params=params, opt_state=opt_state
  ), metrics
