"""`gtr search`: the passages of a store that answer a query."""

import argparse
import pathlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gtr_jax.run import arguments, cli

if TYPE_CHECKING:  # Heavy: `gtr search --help` shall not wait for them.
  from gtr_jax.retrieval.encode import Encoder
  from gtr_jax.retrieval.ranking import Ranking
  from gtr_jax.retrieval.store import Store

_SNIPPET = 200  # Characters of a text that are printed.


def add_arguments(parser: argparse.ArgumentParser) -> None:
  arguments.add_model(parser)
  parser.add_argument(
    "--store", required=True, metavar="DIR", help="store of `gtr encode`"
  )
  queries = parser.add_mutually_exclusive_group(required=True)
  queries.add_argument("--query", metavar="TEXT", help="one query")
  queries.add_argument(
    "--queries", metavar="FILE", help="JSONL or JSONL.gz: _id and text"
  )
  parser.add_argument(
    "--depth", type=int, default=10, help="passages shown for a query"
  )
  parser.add_argument(
    "--output", metavar="FILE", help="write a TREC run; show nothing"
  )
  arguments.add_length(parser, "query")
  arguments.add_on_bad_line(parser, "the queries")
  parser.add_argument(
    "--allow_other_model",
    action="store_true",
    help="search a store that another checkpoint made",
  )


def run(args: argparse.Namespace) -> Mapping[str, Any]:
  from gtr_jax.files import whole
  from gtr_jax.retrieval import ranking as ranking_lib
  from gtr_jax.retrieval import store as store_lib
  from gtr_jax.run import model_directory

  if args.depth < 1:
    raise ValueError(f"--depth is {args.depth}: give 1 or more")
  output = whole.prepare(args.output) if args.output else None
  queries = _queries(args)
  store = store_lib.load(args.store)
  encoder = model_directory.encoder(
    args.model, args.step, query_length=args.query_length
  )
  if not args.allow_other_model:
    _check_same_model(store, encoder, args.model)
  ranking = _search(encoder, store, queries, args.depth)
  if output is not None:
    ranking_lib.write_run(output, ranking)
    print(f"{output}: {len(queries)} queries, {args.depth} passages each")
    return {"run": str(output), "queries": len(queries)}
  hits = list(_hits(store, ranking))
  _show(hits, queries)
  if args.query is not None:  # A hit of a single query need not name it.
    hits = [{key: hit[key] for key in ("id", "score", "text")} for hit in hits]
  return {"hits": hits}


def _queries(args: argparse.Namespace) -> dict[str, str]:
  """Texts of the queries by their ids."""
  from gtr_jax.retrieval import encode
  from gtr_jax.run import texts

  if args.query is not None:
    if not args.query.strip():
      raise ValueError("--query is empty: give a text")
    return {"1": args.query}
  queries: dict[str, str] = {}

  def add(identifier: str, title: str, text: str) -> None:
    queries[identifier] = encode.join_title({"title": title, "text": text})

  texts.read(pathlib.Path(args.queries), args.on_bad_line, add)
  if not queries:
    raise ValueError(f"{args.queries}: there is no query in it")
  return queries


def _check_same_model(store: "Store", encoder: "Encoder", model: str) -> None:
  made_by = store.manifest.recipe.checkpoint
  if made_by != encoder.checkpoint_hash:
    raise ValueError(
      f"{store.directory}: was made by checkpoint {made_by}, {model} is"
      f" {encoder.checkpoint_hash}: give the model (or --step) that made it,"
      " encode again, or search nevertheless with --allow_other_model"
    )


def _search(
  encoder: "Encoder", store: "Store", queries: Mapping[str, str], depth: int
) -> "Ranking":
  from gtr_jax.retrieval import exact
  from gtr_jax.run import progress

  with progress.bar("queries", len(queries)) as advance:
    embeddings, num_cut = encoder.encode_texts(
      list(queries.values()), "query", advance
    )
  if num_cut:
    print(
      f"{num_cut} of {len(queries)} queries were cut to"
      f" {encoder.query_length} tokens",
      file=sys.stderr,
    )
  index = exact.ExactIndex(
    store.embeddings, store.documents.ids, mesh=encoder.mesh
  )
  total = len(queries) * store.manifest.rows
  with progress.bar("search", total, unit="score") as advance:
    return index.search(embeddings, depth, list(queries), report=advance)


def _hits(store: "Store", ranking: "Ranking") -> Iterator[dict[str, Any]]:
  for row, query in enumerate(ranking.query_ids):
    found = zip(ranking.positions[row], ranking.hits(row), strict=True)
    for position, (identifier, score) in found:
      yield {
        "query": query,
        "id": identifier,
        "score": score,
        "text": store.documents.text(int(position)),
      }


def _show(
  hits: Sequence[Mapping[str, Any]], queries: Mapping[str, str]
) -> None:
  shown, rank = None, 0
  for hit in hits:
    if hit["query"] != shown:
      shown, rank = hit["query"], 0
      print(_snippet(queries[shown]))
    rank += 1
    print(f"{rank:4}  {hit['score']:.4f}  {hit['id']}  {_snippet(hit['text'])}")


def _snippet(text: str) -> str:
  """The start of a text on one line, without a terminal's control codes."""
  line = " ".join(text[: 2 * _SNIPPET].split())
  line = "".join(letter if letter.isprintable() else "?" for letter in line)
  return line if len(line) <= _SNIPPET else f"{line[: _SNIPPET - 1]}…"


def main(argv: Sequence[str] | None = None) -> int:
  return cli.run_program(
    "search",
    "Finds the passages of an embedding store that score highest with a query,"
    " by exact search.",
    add_arguments,
    run,
    argv,
  )


if __name__ == "__main__":
  sys.exit(main())
