"""The loss and its gradient alone, compiled for a TPU slice that is not there.

What the tiles around the ring take of a chip's memory at batches whose score
matrix fits none.  Needs libtpu (`pip install 'gtr_jax[plan]'`).
"""

import argparse
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec

from benchmarks import runner
from gtr_jax import partitioning
from gtr_jax.losses import tiled
from gtr_jax.planning import topologies

_GIB = 2**30


def main(arguments: Sequence[str] | None = None) -> None:
  flags = argparse.ArgumentParser(description=__doc__)
  flags.add_argument("--topology", default="v5e:4x4")
  flags.add_argument("--batch_sizes", default="65536,262144,1048576")
  flags.add_argument("--negatives", type=int, default=0, help="a query")
  flags.add_argument("--width", type=int, default=768)
  flags.add_argument("--tile", type=int, default=1024)
  options = flags.parse_args(arguments)
  slice_ = topologies.parse(options.topology, 1)
  mesh = partitioning.Layout().mesh(topologies.devices(slice_))
  for batch_size in map(int, options.batch_sizes.split(",")):
    memory: Any = _compiled(mesh, batch_size, options).memory_analysis()
    given = memory.argument_size_in_bytes + memory.output_size_in_bytes
    runner.show(
      "ring loss and gradient: temporaries a chip",
      memory.temp_size_in_bytes / _GIB,
      "GiB",
      arguments_and_results=given / _GIB,
      topology=options.topology,
      batch_size=batch_size,
      negatives=options.negatives,
      tile=options.tile,
    )


def _compiled(mesh, batch_size: int, options) -> jax.stages.Compiled:
  rows = NamedSharding(mesh, PartitionSpec(partitioning.BATCH_AXES))
  whole = NamedSharding(mesh, PartitionSpec())

  def numbers(*shape: int, dtype=jnp.int32) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, dtype, sharding=rows)

  def loss(queries, passages, temperature, keys):
    of_rows, of_columns, metrics = tiled.contrastive_loss(
      queries, passages, temperature, tile=options.tile, **keys
    )
    return of_rows + of_columns, metrics

  num_passages = 1 + options.negatives
  keys = {
    "query_keys": numbers(batch_size, 2),
    "passage_keys": numbers(batch_size, num_passages, 2),
    "positive_keys": numbers(batch_size, 1, 2),
  }
  vectors = [
    numbers(count, options.width, dtype=jnp.float32)
    for count in (batch_size, batch_size * num_passages)
  ]
  temperature = jax.ShapeDtypeStruct((), jnp.float32, sharding=whole)
  gradient = jax.jit(
    jax.value_and_grad(loss, (0, 1, 2), has_aux=True),
    out_shardings=(None, (rows, rows, None)),
  )
  with jax.set_mesh(mesh):
    return gradient.lower(*vectors, temperature, keys).compile()


if __name__ == "__main__":
  jax.config.update("jax_platforms", "cpu")
  main()
