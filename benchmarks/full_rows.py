"""Train step and encoding without any padding, beside PyTorch and T5X.

Each uses all cores.  The batch, the lengths, the shape and the loss are the
same; the optimizers are Adafactor here and by T5X, AdamW by PyTorch, as the
libraries' users have it.
"""

import os
from collections.abc import Sequence

import numpy as np

from benchmarks import peer, runner, training


def main(arguments: Sequence[str] | None = None) -> None:
  flags = runner.parser(__doc__, "small")
  flags.add_argument("--encode_rows", type=int, default=64)
  flags.add_argument("--threads", type=int, default=os.cpu_count())
  flags.add_argument("--alone", action="store_true", help="without the others")
  flags.add_argument("--only", choices=("step", "encode"))
  options = flags.parse_args(arguments)
  size = training.SIZES[options.size]
  batch = training.full_rows(size)
  steps = training.Steps(size, batch)
  encoder = training.encoder(size)
  shape = (options.encode_rows, size.passage_length)
  corpus = np.resize(batch["passage_tokens"], shape)
  cases = {
    "step": runner.timed(steps),
    "encode": runner.timed(lambda: encoder.encode_tokens(corpus, "passage")),
  }
  peers = peer.Peers(
    ("pytorch", "t5x_retrieval"),
    f"--size={options.size}",
    f"--threads={options.threads}",
    f"--encode_rows={options.encode_rows}",
    alone=options.alone,
  )
  work = {"step": size.batch_size, "encode": options.encode_rows}
  units = {"step": "pairs/s", "encode": "passages/s"}
  for name, case in cases.items():
    if options.only not in (None, name):
      continue
    times = runner.alternate(
      {"ours": case, **peers.cases(name)}, options.repeats
    )
    peers.show(
      f"full rows: {name}", units[name], work[name], times, size=options.size
    )
  peers.close()


if __name__ == "__main__":
  main()
