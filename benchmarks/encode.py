"""Encoding passages as long as MS MARCO's, beside others' encoders.

Token ids come in beside PyTorch and T5X Retrieval, texts come in beside
sentence-transformers; vectors go out.  Ours packs texts into rows, PyTorch and
sentence-transformers sort them by length and pad to the longest of each batch,
T5X pads all to the limit.
"""

import os
from collections.abc import Sequence

import numpy as np

from benchmarks import peer, runner, texts, training


def main(arguments: Sequence[str] | None = None) -> None:
  flags = runner.parser(__doc__, "small")
  flags.add_argument("--texts", type=int, default=256)
  flags.add_argument("--threads", type=int, default=os.cpu_count())
  flags.add_argument(
    "--vocabulary", help="a SentencePiece model; none: made up"
  )
  flags.add_argument("--alone", action="store_true", help="without the others")
  options = flags.parse_args(arguments)
  others = [
    f"--size={options.size}",
    f"--threads={options.threads}",
    f"--texts={options.texts}",
  ]
  if options.vocabulary:
    others.append(f"--vocabulary={options.vocabulary}")
  _tokens(options, others)
  _texts(options, others)


def _tokens(options, others: Sequence[str]) -> None:
  size = training.SIZES[options.size]
  batch = training.source(size, options.texts).batch_at(0)
  tokens = batch["passage_tokens"][:, 0]
  encoder = training.encoder(size)
  ours = runner.timed(lambda: encoder.encode_tokens(tokens, "passage"))
  peers = peer.Peers(("pytorch", "t5x_retrieval"), *others, alone=options.alone)
  peers.show(
    "encode",
    "passages/s",
    options.texts,
    runner.alternate({"ours": ours, **peers.cases("texts")}, options.repeats),
    size=options.size,
    texts=options.texts,
    tokens=int(np.count_nonzero(tokens)),
  )
  peers.close()


def _texts(options, others: Sequence[str]) -> None:
  tokenizer = texts.tokenizer(options.vocabulary)
  size = texts.fitting(training.SIZES[options.size], tokenizer)
  passages = texts.pairs(size, options.texts, tokenizer)["passage"]
  encoder = training.encoder(size, tokenizer)
  ours = runner.timed(lambda: encoder.encode_passages(passages))
  peers = peer.Peers(("sentence_transformers",), *others, alone=options.alone)
  peers.show(
    "encode: text in",
    "passages/s",
    options.texts,
    runner.alternate({"ours": ours, **peers.cases("texts")}, options.repeats),
    size=options.size,
    texts=options.texts,
  )
  peers.close()


if __name__ == "__main__":
  main()
