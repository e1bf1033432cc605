"""Which texts are one, and what they are to each other."""

from dataclasses import dataclass

import numpy as np

from gtr_jax.doctor import false_negatives
from gtr_jax.doctor.false_negatives import Relation
from gtr_jax.doctor.tally import Keys, Tally
from gtr_jax.types import TowerName


@dataclass(frozen=True)
class Contradictions:
  """Passages that are right in one place and wrong in another.

  Attributes:
    num_same_query: negatives that are a positive of the same query.
    examples: pairs of those: where it is the negative, where the positive.
    num_elsewhere: negatives that are a positive of another query only.
    num_negatives: all of them.
  """

  num_same_query: int
  examples: list[tuple[int, int]]
  num_elsewhere: int
  num_negatives: int


@dataclass(frozen=True)
class IdConflicts:
  """Ids with more than one text.

  Attributes:
    num_all: ids.
    examples: tower, and two pairs that differ in the text of one id.
  """

  num_ids: int
  num_all: int
  examples: list[tuple[TowerName, tuple[int, int]]]


@dataclass(frozen=True)
class Texts:
  """Rows of passages, and what the data says of them.

  Attributes:
    examples: [T], the pair of each passage.
    is_positive: bool [T].
    truth: positives; texts are one by key, tokens or id.
    masks: the same as the loss sees it: by tokens or id.
    all_passages: [T], classes of `truth`, of negatives too.
  """

  examples: np.ndarray
  is_positive: np.ndarray
  truth: Relation
  masks: Relation
  all_passages: np.ndarray


def of(tally: Tally) -> Texts:
  """The relations among all texts of the data."""
  positives, negatives = tally.positives_of(), tally.negatives_of()
  counts = positives + negatives
  numbers = np.arange(
    tally.num_pairs, dtype=np.min_scalar_type(tally.num_pairs)
  )
  examples = np.repeat(numbers, counts)
  firsts = np.repeat(counts.cumsum() - counts, counts)
  is_positive = np.arange(len(examples)) - firsts < positives[examples]
  del counts, firsts, positives, negatives
  queries, queries_by_mask = _classes(tally.queries)
  passages, passages_by_mask = _classes(tally.passages)
  of_positives = examples[is_positive]
  return Texts(
    examples,
    is_positive,
    Relation(queries, passages[is_positive], of_positives),
    Relation(queries_by_mask, passages_by_mask[is_positive], of_positives),
    passages,
  )


def _classes(keys: Keys) -> tuple[np.ndarray, np.ndarray]:
  """Of all texts, as they are and as the loss sees them."""
  tokens, ids = keys.all_tokens(), keys.all_ids()
  by_mask = false_negatives.classes(tokens, ids)
  return false_negatives.classes(keys.all_texts(), tokens, ids), by_mask


def id_conflicts(
  tally: Tally, texts: Texts, num_examples: int = 3
) -> IdConflicts:
  """Ids that stand for one text here and for another there."""
  num_ids, num_all, examples = 0, 0, []
  rows: dict[TowerName, np.ndarray] = {
    "query": np.arange(tally.num_pairs),
    "passage": texts.examples,
  }
  for tower, pairs in rows.items():
    keys = tally.queries if tower == "query" else tally.passages
    ids = keys.all_ids()
    known = np.flatnonzero(ids)
    _, first, inverse = np.unique(
      ids[known], return_index=True, return_inverse=True
    )
    contents = keys.all_texts()[known]
    differs = contents != contents[first][inverse]
    conflicting, places = np.unique(inverse[differs], return_index=True)
    num_ids += len(conflicting)
    num_all += len(first)
    others = np.flatnonzero(differs)[places[:num_examples]]
    for number, other in zip(conflicting, others, strict=False):
      two = known[first[number]], known[other]
      examples.append((tower, (int(pairs[two[0]]), int(pairs[two[1]]))))
  return IdConflicts(num_ids, num_all, examples)


def contradictions(texts: Texts, num_examples: int = 5) -> Contradictions:
  """Negatives that are positives."""
  is_negative = ~texts.is_positive
  passages = texts.all_passages
  width = int(passages.max(initial=0)) + 1
  edges = (
    texts.truth.queries[texts.examples].astype(np.int64) * width + passages
  )
  right, first = np.unique(edges[texts.is_positive], return_index=True)
  negatives = np.flatnonzero(is_negative)
  place = np.minimum(np.searchsorted(right, edges[negatives]), len(right) - 1)
  wrong = right[place] == edges[negatives]
  elsewhere = np.isin(passages[negatives], passages[texts.is_positive]) & ~wrong
  positive_rows = np.flatnonzero(texts.is_positive)
  return Contradictions(
    int(wrong.sum()),
    [
      (
        int(texts.examples[negatives[row]]),
        int(texts.examples[positive_rows[first[place[row]]]]),
      )
      for row in np.flatnonzero(wrong)[:num_examples]
    ],
    int(elsewhere.sum()),
    len(negatives),
  )
