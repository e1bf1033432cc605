"""The loss and its gradient alone: tiles around a ring beside a score matrix.

On one device and on all (`--devices`), at growing batches: seconds, and the
temporary memory of a device as the compiler reports it.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from benchmarks import runner
from gtr_jax import partitioning, scoring
from gtr_jax.losses import contrastive, false_negatives, tiled

TEMPERATURE = 0.01
ROWS = PartitionSpec(partitioning.BATCH_AXES)


def main(arguments: Sequence[str] | None = None) -> None:
  flags = runner.parser(__doc__, "small")
  flags.add_argument("--batch_sizes", type=_numbers, default=(1024, 4096))
  flags.add_argument("--devices", type=_numbers, default=(1, 8))
  flags.add_argument("--width", type=int, default=768)
  flags.add_argument("--tile", type=int, default=512)
  options = flags.parse_args(arguments)
  for num_devices in options.devices:
    if num_devices <= jax.device_count():
      for batch_size in options.batch_sizes:
        _compare(num_devices, batch_size, options)


def _compare(num_devices: int, batch_size: int, options) -> None:
  mesh = partitioning.Layout().mesh(jax.devices()[:num_devices])
  arrays = _arrays(batch_size, options.width, mesh)
  tile = min(options.tile, batch_size // num_devices)
  cases, memory = {}, {}
  with jax.set_mesh(mesh):
    for name, loss in (("ring", _ring(tile)), ("dense", _dense)):
      compiled = (
        jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))
        .lower(*arrays)
        .compile()
      )
      memory[name] = _temporary_mib(compiled)
      cases[name] = runner.timed(_blocking(compiled, arrays))
    times = runner.alternate(cases, options.repeats)
  runner.show_rate(
    "ring loss and gradient",
    "queries/s",
    batch_size,
    times["ring"],
    "dense loss and gradient",
    times["dense"],
    batch_size=batch_size,
    devices=num_devices,
    tile=tile,
    temporary_mib=memory["ring"],
    temporary_mib_dense=memory["dense"],
  )


def _temporary_mib(compiled: jax.stages.Compiled) -> float | None:
  analysis = compiled.memory_analysis()
  return None if analysis is None else analysis.temp_size_in_bytes / 2**20


def _arrays(batch_size: int, width: int, mesh) -> list[jax.Array]:
  rng = np.random.default_rng(0)
  vectors = rng.normal(size=(2, batch_size, width)).astype(np.float32)
  vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
  numbers = np.arange(1, 1 + 2 * batch_size, dtype=np.int32)
  keys = np.stack([np.zeros_like(numbers), numbers], axis=1)
  passage_keys = keys[batch_size:, None]
  arrays = (*vectors, keys[:batch_size], passage_keys, passage_keys)
  return [jax.device_put(x, NamedSharding(mesh, ROWS)) for x in arrays]


def _ring(tile: int) -> Callable[..., jax.Array]:
  def loss(queries, passages, query_keys, passage_keys, positive_keys):
    rows, columns, _ = tiled.contrastive_loss(
      queries,
      passages,
      jnp.float32(TEMPERATURE),
      query_keys=query_keys,
      passage_keys=passage_keys,
      positive_keys=positive_keys,
      tile=tile,
    )
    return rows + columns

  return loss


def _dense(queries, passages, query_keys, passage_keys, positive_keys):
  scores = scoring.dot_products(queries, passages) / TEMPERATURE
  scores = jax.lax.with_sharding_constraint(scores, ROWS)
  excluded = false_negatives.excluded(query_keys, passage_keys, positive_keys)
  own = jnp.arange(len(queries))
  rows = contrastive.softmax_loss(scores, own, excluded)
  columns = contrastive.softmax_loss(scores.T, own, excluded.T)
  return rows.mean() + columns.mean()


def _blocking(function: Callable, arrays: list[jax.Array]):
  return lambda: jax.block_until_ready(function(*arrays))


def _numbers(text: str) -> tuple[int, ...]:
  return tuple(int(number) for number in text.split(","))


if __name__ == "__main__":
  # A CPU passes for as many; the number of GPUs stays what it is.
  jax.config.update("jax_num_cpu_devices", 8)
  main()
