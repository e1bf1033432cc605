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
from gtr_jax.models import dual_encoder
from gtr_jax.retrieval import encode as encode_lib
from gtr_jax.types import TokenRows


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
  encoder = _encoder(size, None)
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
  encoder = _encoder(size, tokenizer)
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


def _encoder(
  size: training.Size, tokenizer: TokenRows | None
) -> encode_lib.Encoder:
  model = training.model(size)

  def tower(params, tokens, segments, num_texts):
    return dual_encoder.encode(
      model, params, tokens, "passage", None, segments, num_texts
    )

  return encode_lib.Encoder(
    {"query": tower, "passage": tower},
    training.parameters(size),
    tokenizer,
    passage_length=size.passage_length,
  )


if __name__ == "__main__":
  main()
