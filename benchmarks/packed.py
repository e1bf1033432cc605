"""Train step on packed batches of texts as long as MS MARCO's, beside padded.

And beside T5X Retrieval's and sentence-transformers' steps on the same texts,
padded as they do it.
"""

import os
from collections.abc import Sequence

from benchmarks import peer, runner, training


def main(arguments: Sequence[str] | None = None) -> None:
  flags = runner.parser(__doc__, "small")
  flags.add_argument("--batch_size", type=int, default=None)
  flags.add_argument("--threads", type=int, default=os.cpu_count())
  flags.add_argument("--alone", action="store_true", help="without the others")
  options = flags.parse_args(arguments)
  size = training.SIZES[options.size]
  batch_size = options.batch_size or size.batch_size
  source = training.source(size, batch_size)
  rows = training.packed_source(size, batch_size)
  peers = peer.Peers(
    ("t5x_retrieval", "sentence_transformers"),
    f"--size={options.size}",
    f"--threads={options.threads}",
    f"--batch_size={batch_size}",
    alone=options.alone,
  )
  times = runner.alternate(
    {
      "packed train step": runner.timed(training.Steps(size, next(rows))),
      "padded train step": runner.timed(training.Steps(size, next(source))),
      **peers.cases("pairs"),
    },
    options.repeats,
  )
  peers.show(
    "packed train step",
    "pairs/s",
    batch_size,
    times,
    cells_used={
      tower: round(shape.cells_used, 3) for tower, shape in rows.shapes.items()
    },
    rows=rows.describe(),
    size=options.size,
    batch_size=batch_size,
  )
  peers.close()


if __name__ == "__main__":
  main()
