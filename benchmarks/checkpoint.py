"""A checkpoint of a train state: until training goes on, on disk, restored."""

import tempfile
from collections.abc import Sequence

import jax

from benchmarks import runner, training
from gtr_jax.checkpoints import manager
from gtr_jax.training import state as state_lib


def main(arguments: Sequence[str] | None = None) -> None:
  options = runner.parser(__doc__, "small").parse_args(arguments)
  size = training.SIZES[options.size]
  state = training.Steps(size, training.full_rows(size)).state
  trainer = {"opt_state": state.opt_state, "rng": state.rng}
  abstract = state_lib.abstract(state)
  due = {"opt_state": abstract.opt_state, "rng": abstract.rng}
  arrays = jax.tree.leaves((state.params, trainer))
  mib = sum(array.nbytes for array in arrays) / 2**20
  number = 0
  with tempfile.TemporaryDirectory() as folder:
    checkpoints = manager.open_checkpoints(folder, keep=1)

    def save() -> None:
      nonlocal number
      number += 1
      checkpoints.save(number, state.params, trainer)

    def save_and_wait() -> None:
      save()
      checkpoints.orbax.wait_until_finished()

    def restore() -> None:
      jax.block_until_ready(checkpoints.restore(number, abstract.params, due))

    for name, function in (
      ("save until on disk", save_and_wait),
      ("restore", restore),
    ):
      times = runner.alternate({name: runner.timed(function)}, options.repeats)
      runner.show_rate(
        f"checkpoint: {name}",
        "MiB/s",
        mib,
        times[name],
        mib=mib,
        size=options.size,
      )
    blocked = runner.timed(save)()
    runner.show(
      "checkpoint: training waits",
      blocked.wall,
      "s",
      mib=mib,
      size=options.size,
    )
    checkpoints.close()


if __name__ == "__main__":
  main()
