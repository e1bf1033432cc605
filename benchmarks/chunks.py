"""Train step in chunks beside the plain one: what the saved memory costs."""

from collections.abc import Sequence

from benchmarks import runner, training


def main(arguments: Sequence[str] | None = None) -> None:
  flags = runner.parser(__doc__, "small")
  flags.add_argument("--chunks", type=int, default=4)
  options = flags.parse_args(arguments)
  size = training.SIZES[options.size]
  batch = training.full_rows(size)
  chunked = training.Steps(size, batch, num_chunks=options.chunks)
  times = runner.alternate(
    {
      "chunked": runner.timed(chunked),
      "plain": runner.timed(training.Steps(size, batch)),
    },
    options.repeats,
  )
  runner.show_rate(
    "chunked train step",
    "pairs/s",
    size.batch_size,
    times["chunked"],
    "plain train step",
    times["plain"],
    chunks=options.chunks,
    size=options.size,
  )


if __name__ == "__main__":
  main()
