"""A test collection: passages, queries and judgements of what is relevant."""

import hashlib
from dataclasses import dataclass

from gtr_jax.retrieval import encode

Qrels = dict[str, dict[str, int]]


@dataclass(frozen=True)
class Collection:
  """A corpus, and the queries of one split that have a relevant passage.

  Attributes:
    ids, titles, texts: of the passages, in the order of the corpus.
    queries: text of each query by its id; their order is the order of results.
    qrels: query id to passage id to score; relevant is a score above 0.
    num_skipped: bad lines that were left out.
    num_unanswered: judged queries without a relevant passage, left out.
  """

  name: str
  split: str
  ids: list[str]
  titles: list[str]
  texts: list[str]
  queries: dict[str, str]
  qrels: Qrels
  num_skipped: int = 0
  num_unanswered: int = 0

  @property
  def passages(self) -> list[str]:
    """Title and text of each passage joined, as a model reads them."""
    return [
      encode.join_title({"title": title, "text": text})
      for title, text in zip(self.titles, self.texts, strict=True)
    ]

  @property
  def num_empty(self) -> int:
    """Passages with neither a title nor a text; BEIR has some."""
    return sum(
      not (title.strip() or text.strip())
      for title, text in zip(self.titles, self.texts, strict=True)
    )

  @property
  def qrels_sha256(self) -> str:
    """Hash of the judgements, whatever their order, header or line ends.

    That of their `query-id TAB corpus-id TAB score LF` lines in byte order.
    """
    lines = sorted(
      f"{query}\t{passage}\t{score}\n".encode()
      for query, judgements in self.qrels.items()
      for passage, score in judgements.items()
    )
    return hashlib.sha256(b"".join(lines)).hexdigest()
