"""Compiles the real step for devices that are not there.

Nothing but shapes: no parameter is made, no data opened.
"""

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from gtr_jax import partitioning
from gtr_jax.objectives import objective as objective_lib
from gtr_jax.planning import batch_shapes, flops, hlo, memory
from gtr_jax.training import state as state_lib
from gtr_jax.training import step as step_lib
from gtr_jax.types import Params


@dataclasses.dataclass(frozen=True)
class Task:
  """What is trained, and how devices share it.

  Attributes:
    objective: the loss.
    optimizer: the update.
    layout: of the devices.
    encode: the towers, for encoding and for counting operations.
  """

  objective: objective_lib.Objective
  optimizer: optax.GradientTransformation
  layout: partitioning.Layout
  encode: flops.Encode


@dataclasses.dataclass(frozen=True)
class Result:
  """A program, or the compiler's refusal for want of memory.

  Attributes:
    memory: what it takes.
    program: what it runs; None if it was refused.
    seconds: of tracing and compiling.
    executed_flops: operations of its matrix products, on all devices.
    model_flops: those that the work needs, nothing computed twice.
  """

  memory: memory.Memory
  program: hlo.Program | None
  seconds: float
  executed_flops: int
  model_flops: int


def train_step(
  task: Task, shapes: batch_shapes.Shapes, devices: Sequence[Any]
) -> Result:
  """The step of `training.step` on a batch of these shapes."""
  start = time.perf_counter()
  mesh, rules = task.layout.mesh(devices), task.layout.all_rules()
  batch = {
    name: _rows(shape, mesh, jnp.int32) for name, shape in shapes.items()
  }
  state = _state(task, batch, mesh)
  step = step_lib.jit_step(
    task.objective, task.optimizer, jax.tree.map(lambda x: x.sharding, state)
  )
  with partitioning.in_use(mesh, rules):
    traced = step.trace(state, batch)
    kinds = (state.params, state.opt_state, batch)
    found, program = _compile(traced, kinds)
  return Result(
    found,
    program,
    time.perf_counter() - start,
    flops.executed(traced.jaxpr.jaxpr),
    flops.of_a_step(task.encode, state.params, batch),
  )


def encode_step(
  task: Task,
  shapes: batch_shapes.Shapes,
  devices: Sequence[Any],
  num_texts: int,
  length: int,
) -> Result:
  """Encoding passages with the parameters where training has them.

  Args:
    shapes: of a training batch, from which the parameters are made.
    num_texts: of a batch, over all devices.
    length: tokens of a text.
  """
  start = time.perf_counter()
  mesh, rules = task.layout.mesh(devices), task.layout.all_rules()
  batch = {
    name: _rows(shape, mesh, jnp.int32) for name, shape in shapes.items()
  }
  params = _state(task, batch, mesh).params
  tokens = _rows((num_texts, length), mesh, jnp.int32)
  encode = partitioning.on_own_rows(
    lambda params, tokens: task.encode(params, tokens, "passage"),
    jax.tree.map(lambda x: x.sharding.spec, params),
    mesh,
  )
  with partitioning.in_use(mesh, rules):
    traced = jax.jit(encode).trace(params, tokens)
    found, program = _compile(traced, (params, (), tokens))
  return Result(
    found,
    program,
    time.perf_counter() - start,
    flops.executed(traced.jaxpr.jaxpr),
    num_texts * flops.of_a_row(task.encode, params, length, "passage"),
  )


def _state(task: Task, batch: Any, mesh: Mesh) -> state_lib.TrainState:
  """Shapes of the state with their shardings."""
  init = state_lib.make_init(task.objective, task.optimizer, batch)
  boxed = jax.eval_shape(init, jax.random.key(0))
  shardings = partitioning.shardings(boxed, mesh, task.layout.all_rules())
  return jax.tree.map(
    lambda x, sharding: jax.ShapeDtypeStruct(
      x.shape, x.dtype, sharding=sharding
    ),
    nn.unbox(boxed),
    shardings,
  )


def _rows(
  shape: tuple[int, ...], mesh: Mesh, dtype: Any
) -> jax.ShapeDtypeStruct:
  """Rows that the devices of the batch's axes share."""
  rows = NamedSharding(mesh, PartitionSpec(partitioning.BATCH_AXES))
  return jax.ShapeDtypeStruct(shape, dtype, sharding=rows)


def _compile(
  traced: Any, kinds: tuple[Params, Any, Any]
) -> tuple[memory.Memory, hlo.Program | None]:
  try:
    compiled = traced.lower().compile()
  except jax.errors.JaxRuntimeError as error:
    refusal = memory.parse_refusal(str(error))
    if refusal is None:
      raise
    return memory.refused(refusal[0], *kinds), None
  found = memory.of_program(compiled, *kinds)
  return found, hlo.parse(compiled.as_text())
