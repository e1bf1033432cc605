"""What an update changes, and how it is born on the mesh."""

from collections.abc import Callable
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jax.sharding import Mesh
from jaxtyping import Array, Int, UInt32

from gtr_jax import partitioning
from gtr_jax.objectives import objective as objective_lib
from gtr_jax.training import optimizer_state
from gtr_jax.types import Batch, HostBatch, Params


class TrainState(flax.struct.PyTreeNode):
  """Everything that a run needs, besides the data, to go on to the bit.

  Attributes:
    step: number of updates made.
    params: float32 arrays under T5X's names.
    opt_state: the optimizer's.
    rng: key data from which each step's dropout key is folded.
  """

  step: Int[Array, ""]
  params: Params
  opt_state: Any
  rng: UInt32[Array, "2"]


def make_init(
  objective: objective_lib.Objective,
  optimizer: optax.GradientTransformation,
  batch: Batch | HostBatch,
  initial_step: int = 0,
) -> Callable[[jax.Array], TrainState]:
  """A function from a key to the first state, in boxes with axis names.

  Args:
    objective: gives the parameters.
    optimizer: gives its state.
    batch: arrays or shapes of a batch.
    initial_step: number of the first state; T5's own checkpoints end at
      999,900 and T5X counts on from there.
  """

  def init(rng: jax.Array) -> TrainState:
    init_rng, dropout_rng = jax.random.split(rng)
    # Shapes suffice to make parameters; a small batch keeps tracing cheap.
    one = {
      name: jnp.zeros((1, *x.shape[1:]), x.dtype) for name, x in batch.items()
    }
    params = objective.init(init_rng, one)
    return TrainState(
      step=jnp.asarray(initial_step, jnp.int32),
      params=params,
      opt_state=optimizer_state.at_step(optimizer.init(params), initial_step),
      rng=jax.random.key_data(dropout_rng),
    )

  return init


def create(
  init: Callable[[jax.Array], TrainState],
  seed: int,
  mesh: Mesh,
  rules: partitioning.Rules = partitioning.STANDARD_RULES,
) -> tuple[TrainState, TrainState]:
  """(the first state, its shardings): each device makes only its own shards."""
  layout = shardings(init, mesh, rules)
  key = jax.random.key(seed)
  make = jax.jit(lambda key: nn.unbox(init(key)), out_shardings=layout)
  return make(key), layout


def shardings(
  init: Callable[[jax.Array], TrainState],
  mesh: Mesh,
  rules: partitioning.Rules = partitioning.STANDARD_RULES,
) -> TrainState:
  """One sharding an array of the state."""
  boxed = jax.eval_shape(init, jax.random.key(0))
  return partitioning.shardings(boxed, mesh, rules)


def abstract(state: TrainState) -> TrainState:
  """Shapes, dtypes and shardings of a state, which restoring needs."""
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state
  )
