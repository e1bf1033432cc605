"""Which of the passages found for a query are negatives to train with."""

import collections
import hashlib
import itertools
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int64

from gtr_jax.data import negative_rules
from gtr_jax.data.pair import Pair
from gtr_jax.evaluation.collection import Collection

NONE = -1  # Position where a search found too few passages.


@dataclass(frozen=True)
class Candidates:
  """What one search or several found, and a score for any passage.

  Attributes:
    searches: of each search, places in the corpus for each query, best first.
    score: scores of places, for the query of a row.
  """

  searches: Sequence[Int64[np.ndarray, "Q R"]]
  score: Callable[[int, Int64[np.ndarray, "n"]], Float32[np.ndarray, "n"]]


@dataclass(frozen=True)
class Mined:
  """The pairs, in the order of the queries.

  Attributes:
    filtered: candidates left out, by reason.
    num_unusable: queries without a pair, since their positives are empty.
  """

  pairs: list[Pair]
  filtered: Mapping[str, int]
  num_unusable: int


def mine(
  collection: Collection, candidates: Candidates, rules: negative_rules.Rules
) -> Mined:
  """A pair a query: its positives, and the candidates that the rules allow."""
  corpus = _index(collection)
  filtered: collections.Counter[str] = collections.Counter()
  pairs = []
  for row, query in enumerate(collection.queries):
    positives = [p for p in _relevant(corpus, query) if corpus.texts[p]]
    if not positives:
      continue
    searches = [search[row].tolist() for search in candidates.searches]
    found = _in_turn(searches)
    scores = candidates.score(row, np.array(positives + found)).tolist()
    lowest, scores = min(scores[: len(positives)]), scores[len(positives) :]
    reasons = list(_reasons(corpus, query, found, scores, lowest, rules))
    filtered.update(reason for reason in reasons if reason)
    passing = {
      place for place, reason in zip(found, reasons, strict=True) if not reason
    }
    negatives = _chosen(query, searches, passing, rules)
    pairs.append(_pair(corpus, query, positives, negatives))
  return Mined(pairs, filtered, len(collection.queries) - len(pairs))


@dataclass(frozen=True)
class _Corpus:
  """A collection with what is looked up in it, by place in the corpus."""

  collection: Collection
  texts: list[str]
  keys: list[bytes]
  places: dict[str, int]


def _index(collection: Collection) -> _Corpus:
  texts = collection.passages
  places = {passage: place for place, passage in enumerate(collection.ids)}
  return _Corpus(
    collection, texts, list(map(negative_rules.text_key, texts)), places
  )


def _relevant(corpus: _Corpus, query: str) -> list[int]:
  judged = corpus.collection.qrels[query].items()
  return [corpus.places[passage] for passage, score in judged if score > 0]


def _reasons(
  corpus: _Corpus,
  query: str,
  found: Sequence[int],
  scores: Sequence[float],
  positive: float,
  rules: negative_rules.Rules,
) -> Iterator[str | None]:
  """Why each passage found is no negative; None where it is one."""
  relevant = set(_relevant(corpus, query))
  refused = {corpus.keys[place]: "copy_of_positive" for place in relevant}
  refused[negative_rules.text_key(corpus.collection.queries[query])] = (
    "copy_of_query"
  )
  refused[negative_rules.text_key("")] = "empty"
  for place, score in zip(found, scores, strict=True):
    key = corpus.keys[place]
    if place in relevant:
      reason = "positive"
    elif corpus.collection.ids[place] == query:
      reason = "copy_of_query"
    else:
      reason = refused.get(key) or rules.too_near(score, positive)
    if reason is None:
      refused[key] = "copy_of_negative"
    yield reason


def _chosen(
  query: str,
  searches: Sequence[Sequence[int]],
  passing: Container[int],
  rules: negative_rules.Rules,
) -> Sequence[int]:
  # By the query's id: other queries in the file change nothing.
  digest = hashlib.sha256(query.encode()).digest()
  first = digest[0] % len(searches)
  turns = _in_turn([*searches[first:], *searches[:first]], passing)
  if rules.seed is None or len(turns) <= rules.num_negatives:
    return turns[: rules.num_negatives]
  rng = np.random.default_rng([rules.seed, *digest])
  drawn = rng.choice(len(turns), rules.num_negatives, replace=False)
  return [turns[index] for index in sorted(drawn)]


def _pair(
  corpus: _Corpus,
  query: str,
  positives: Sequence[int],
  negatives: Sequence[int],
) -> Pair:
  ids, texts = corpus.collection.ids, corpus.texts
  return Pair(
    query=corpus.collection.queries[query],
    positives=tuple(texts[place] for place in positives),
    negatives=tuple(texts[place] for place in negatives),
    query_id=query,
    positive_ids=tuple(ids[place] for place in positives),
    negative_ids=tuple(ids[place] for place in negatives),
  )


def _in_turn(
  searches: Sequence[Sequence[int]], wanted: Container[int] | None = None
) -> list[int]:
  """The wanted places of all searches, each once, the best of each first."""
  lists = [
    [place for place in search if wanted is None or place in wanted]
    for search in searches
  ]
  turns = itertools.chain.from_iterable(
    itertools.zip_longest(*lists, fillvalue=NONE)
  )
  return [place for place in dict.fromkeys(turns) if place != NONE]
