"""Encoding passages as long as MS MARCO's, beside PyTorch and T5X Retrieval.

Ours packs texts into rows, PyTorch sorts by length and pads, T5X pads all to
the limit; token ids come in, vectors go out.
"""

import os
from collections.abc import Sequence

import numpy as np

from benchmarks import peer, runner, training
from gtr_jax.models import dual_encoder
from gtr_jax.retrieval import encode as encode_lib


def main(arguments: Sequence[str] | None = None) -> None:
  flags = runner.parser(__doc__, "small")
  flags.add_argument("--texts", type=int, default=256)
  flags.add_argument("--threads", type=int, default=os.cpu_count())
  flags.add_argument("--alone", action="store_true", help="without the others")
  options = flags.parse_args(arguments)
  size = training.SIZES[options.size]
  tokens = training.source(size, options.texts).batch_at(0)["passage_tokens"]
  encoder = _encoder(size)
  cases = {
    "ours": runner.timed(lambda: encoder.encode_tokens(tokens[:, 0], "passage"))
  }
  peers = peer.Peers(
    ("pytorch", "t5x_retrieval"),
    f"--size={options.size}",
    f"--threads={options.threads}",
    f"--texts={options.texts}",
    alone=options.alone,
  )
  peers.show(
    "encode",
    "passages/s",
    options.texts,
    runner.alternate({**cases, **peers.cases("texts")}, options.repeats),
    size=options.size,
    texts=options.texts,
    tokens=int(np.count_nonzero(tokens)),
  )
  peers.close()


def _encoder(size: training.Size) -> encode_lib.Encoder:
  model = training.model(size)

  def tower(params, tokens, segments, num_texts):
    return dual_encoder.encode(
      model, params, tokens, "passage", None, segments, num_texts
    )

  return encode_lib.Encoder(
    {"query": tower, "passage": tower},
    training.parameters(size),
    tokenizer=None,
    passage_length=size.passage_length,
  )


if __name__ == "__main__":
  main()
