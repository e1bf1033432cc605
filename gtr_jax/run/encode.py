"""`gtr encode`: a file of texts to an embedding store."""

import argparse
import pathlib
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gtr_jax.run import arguments, cli

if TYPE_CHECKING:  # Heavy: `gtr encode --help` shall not wait for them.
  from gtr_jax.retrieval.encode import Encoder
  from gtr_jax.retrieval.store import Recipe
  from gtr_jax.retrieval.store_writer import Writer


def add_arguments(parser: argparse.ArgumentParser) -> None:
  arguments.add_model(parser)
  parser.add_argument(
    "--input",
    required=True,
    metavar="FILE",
    help="JSONL or JSONL.gz: _id, text and, where there is one, title",
  )
  parser.add_argument(
    "--output",
    required=True,
    metavar="DIR",
    help="embedding store; an unfinished one is gone on with",
  )
  parser.add_argument(
    "--tower",
    choices=("query", "passage"),
    default="passage",
    help="what the texts are",
  )
  arguments.add_length(parser, "query")
  arguments.add_length(parser, "passage")
  parser.add_argument(
    "--dtype",
    choices=("float32", "float16", "bfloat16"),
    default="float32",
    help="of the stored embeddings; scores are float32 whatever it is",
  )
  parser.add_argument(
    "--batch_tokens",
    type=int,
    metavar="TOKENS",
    help="tokens in a batch on each device; none: 8192, on a CPU 2048",
  )
  parser.add_argument(
    "--shard_rows",
    type=int,
    metavar="TEXTS",
    help="texts in a shard, which a kill loses at most; none: 512 to 16,384,"
    " by the number of texts",
  )
  arguments.add_on_bad_line(parser, "the input")


def run(args: argparse.Namespace) -> Mapping[str, Any]:
  from gtr_jax.retrieval import store_writer
  from gtr_jax.run import texts

  source_path, directory = pathlib.Path(args.input), pathlib.Path(args.output)
  source = store_writer.fingerprint(source_path)
  encoder = _encoder(args)
  with store_writer.opened(
    directory,
    _recipe(encoder, args.tower, args.dtype),
    source,
    lambda add: texts.read(source_path, args.on_bad_line, add),
    args.shard_rows,
  ) as writer:
    if writer.manifest.skipped and args.on_bad_line == "error":
      raise ValueError(
        f"{directory}: was made without {writer.manifest.skipped} bad lines:"
        " repair them and choose another --output, or go on with"
        " --on_bad_line=skip"
      )
    num_encoded, seconds = _encode(encoder, writer)
    writer.finish()
  manifest = writer.manifest
  result = {
    "store": str(directory),
    "rows": manifest.rows,
    "dim": manifest.dim,
    "texts_per_second": round(num_encoded / seconds, 2) if num_encoded else 0.0,
    "truncated": manifest.truncated,
    "encoded": num_encoded,
    "skipped": manifest.skipped,
  }
  print(
    f"{directory}: {manifest.rows} texts, {manifest.dim} numbers each;"
    f" {num_encoded} encoded now, {result['texts_per_second']} a second;"
    f" {manifest.truncated} were cut to {manifest.recipe.length} tokens"
  )
  return result


def _encoder(args: argparse.Namespace) -> "Encoder":
  from gtr_jax.run import model_directory

  encoder = model_directory.encoder(
    args.model,
    args.step,
    query_length=args.query_length,
    passage_length=args.passage_length,
    batch_tokens=args.batch_tokens,
  )
  if encoder.tokenizer is None:
    raise ValueError(
      f"{args.model}: the model has no vocabulary and cannot read texts: import"
      " it again with --vocabulary"
    )
  return encoder


def _recipe(encoder: "Encoder", tower: Any, dtype: str) -> "Recipe":
  from gtr_jax.retrieval import store

  tokenizer = encoder.tokenizer
  return store.Recipe(
    checkpoint=encoder.checkpoint_hash or "",
    vocabulary=getattr(tokenizer, "sha256", ""),
    tower=tower,
    length=encoder.length(tower),
    prompt=getattr(tokenizer, f"{tower}_prompt", ""),
    dtype=dtype,
  )


def _encode(encoder: "Encoder", writer: "Writer") -> tuple[int, float]:
  """Makes the missing shards: texts encoded, and seconds."""
  from gtr_jax.run import progress

  manifest, missing = writer.manifest, writer.missing()
  windows = [writer.texts(shard) for shard in missing]
  num_texts = sum(map(len, windows))
  start = time.perf_counter()
  if 0 < num_texts < manifest.rows:
    print(
      f"{writer.directory}: {manifest.rows - num_texts} of {manifest.rows}"
      " texts were encoded before",
      file=sys.stderr,
    )
  with progress.bar("encode", num_texts) as advance:
    results = encoder.encode_windows(windows, manifest.recipe.tower, advance)
    for shard, (embeddings, truncated) in zip(missing, results, strict=True):
      writer.write_shard(shard, embeddings, truncated)
  return num_texts, time.perf_counter() - start


def main(argv: Sequence[str] | None = None) -> int:
  return cli.run_program(
    "encode",
    "Encodes a file of texts into an embedding store.  Killed and started"
    " again, it goes on where it stopped.",
    add_arguments,
    run,
    argv,
  )


if __name__ == "__main__":
  sys.exit(main())
