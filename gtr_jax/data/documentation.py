"""Docstrings as a retrieval task: the summary asks, the body answers."""

from collections import Counter
from collections.abc import Collection as Container
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

from gtr_jax.data import overlap, prose
from gtr_jax.data.docstrings import Definition
from gtr_jax.files import json_lines, whole

MIN_SUMMARY_WORDS = 3
MIN_BODY_WORDS = overlap.RUN_WORDS
MAX_BODY_WORDS = 200
# A summary of more bodies than this, such as "Return a copy.", asks nothing.
MAX_RELEVANT = 3


@dataclass(frozen=True)
class Collection:
  """Documents and queries by id, and which documents answer which query.

  No query has the id of a document: BEIR drops a document with the query's id.
  """

  documents: dict[str, str]
  queries: dict[str, str]
  relevant: dict[str, tuple[str, ...]]

  def texts(self) -> Iterator[str]:
    yield from self.documents.values()
    yield from self.queries.values()

  def counts(self) -> dict[str, int]:
    return {
      "documents": len(self.documents),
      "queries": len(self.queries),
      "judgements": sum(map(len, self.relevant.values())),
    }


def collect(
  definitions: Iterable[Definition],
  excluded: Container[overlap.Run] = frozenset(),
) -> Collection:
  """The collection of all docstrings with a summary and a body, both prose.

  Equal bodies are one document and equal summaries one query.  A docstring that
  has a run of words in common with the excluded texts is left out.
  """
  documents: dict[str, str] = {}
  document_ids: dict[overlap.Run, str] = {}
  queries: dict[overlap.Run, tuple[str, str]] = {}
  answers: dict[overlap.Run, dict[str, None]] = {}
  for name, summary, body in _named_parts(definitions):
    if any(overlap.overlaps(text, excluded) for text in (summary, body)):
      continue
    document_id = document_ids.setdefault(prose.words(body), name)
    documents.setdefault(document_id, body)
    key = prose.words(summary)
    queries.setdefault(key, (f"q/{name}", summary))
    answers.setdefault(key, {})[document_id] = None
  kept = [key for key in queries if len(answers[key]) <= MAX_RELEVANT]
  return Collection(
    documents,
    queries=dict(queries[key] for key in kept),
    relevant={queries[key][0]: tuple(answers[key]) for key in kept},
  )


def _named_parts(
  definitions: Iterable[Definition],
) -> Iterator[tuple[str, str, str]]:
  """Id, summary and body of each docstring that has both."""
  uses: Counter[str] = Counter()
  for definition in definitions:
    if parts := _parts(definition):
      name = "_".join(definition.full_name.split())
      uses[name] += 1
      # A name may be defined again, as in if ... else.
      yield (f"{name}#{uses[name]}" if uses[name] > 1 else name), *parts


def is_documented(definition: Definition) -> bool:
  """Whether its docstring makes a query and a document."""
  return _parts(definition) is not None


def _parts(definition: Definition) -> tuple[str, str] | None:
  summary, body = prose.summary_and_body(definition.docstring, MAX_BODY_WORDS)
  if not prose.is_prose(summary, MIN_SUMMARY_WORDS):
    return None
  return (summary, body) if prose.is_prose(body, MIN_BODY_WORDS) else None


def sections(definition: Definition) -> Iterator[Definition]:
  """Later paragraphs of a docstring and the comments, each as a docstring."""
  summary, _ = prose.summary_and_body(definition.docstring, MAX_BODY_WORDS)
  for text in (definition.docstring, definition.comment, *definition.remarks):
    for block in prose.blocks(text):
      if not (summary and block.startswith(summary)):
        yield Definition(definition.module, definition.name, block)


def sample_queries(collection: Collection, at_most: int) -> Collection:
  """The collection with some of its queries, drawn by a hash of their ids."""
  order = sorted(collection.queries, key=lambda q: (crc32(q.encode()), q))
  drawn = set(order[:at_most])
  kept = [query_id for query_id in collection.queries if query_id in drawn]
  return Collection(
    collection.documents,
    queries={query_id: collection.queries[query_id] for query_id in kept},
    relevant={query_id: collection.relevant[query_id] for query_id in kept},
  )


def write(collection: Collection, directory: Path, split: str) -> None:
  """Writes a folder of BEIR's layout: corpus, queries, qrels/SPLIT.tsv."""
  corpus = [
    {"_id": document_id, "title": "", "text": text}
    for document_id, text in collection.documents.items()
  ]
  queries = [
    {"_id": query_id, "text": text}
    for query_id, text in collection.queries.items()
  ]
  judgements = ["query-id\tcorpus-id\tscore"] + [
    f"{query_id}\t{document_id}\t1"
    for query_id, document_ids in collection.relevant.items()
    for document_id in document_ids
  ]
  json_lines.write(directory / "corpus.jsonl", corpus)
  json_lines.write(directory / "queries.jsonl", queries)
  qrels = "".join(f"{line}\n" for line in judgements)
  whole.write(directory / "qrels" / f"{split}.tsv", qrels.encode())
