"""Train step on padded and on packed batches of texts as long as MS MARCO's."""

from collections.abc import Sequence

from benchmarks import runner, training


def main(arguments: Sequence[str] | None = None) -> None:
  flags = runner.parser(__doc__, "small")
  flags.add_argument("--batch_size", type=int, default=None)
  options = flags.parse_args(arguments)
  size = training.SIZES[options.size]
  batch_size = options.batch_size or size.batch_size
  source = training.source(size, batch_size)
  rows = training.packed_source(size, batch_size)
  times = runner.alternate(
    {
      "packed": runner.timed(training.Steps(size, next(rows))),
      "padded": runner.timed(training.Steps(size, next(source))),
    },
    options.repeats,
  )
  runner.show_rate(
    "packed train step",
    "pairs/s",
    batch_size,
    times["packed"],
    "padded train step",
    times["padded"],
    cells_used={
      tower: round(shape.cells_used, 3) for tower, shape in rows.shapes.items()
    },
    rows=rows.describe(),
    size=options.size,
    batch_size=batch_size,
  )


if __name__ == "__main__":
  main()
