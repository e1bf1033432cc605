"""How many negatives in a batch are none: the expectation, before training.

Pairs stand for a graph: a query belongs to every passage that is its positive
in any pair of the data.  In a batch of B of the N pairs, drawn without
replacement, the cell of query i and passage j is a false negative if i is not
j and passage j belongs to query i.  Every ordered pair of two examples is as
likely as any other to meet in a batch, so that the expected number of such
cells is

  B (B - 1) / (N (N - 1)) * #{(i, j): i != j, passage j belongs to query i},

and counting needs no pair of examples: a query that n pairs have and a passage
that m pairs have make n * m cells where they belong together, less the N of
the diagonal.  Where an example has several positives, one of them is drawn,
each as likely as the others.
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse, special
from scipy.sparse import csgraph


@dataclass(frozen=True)
class Relation:
  """Which queries and which passages are one; whole numbers from 0.

  Attributes:
    queries: [N], the class of each example's query.
    passages: [T], of each positive, example by example.
    examples: [T], whose positive it is, ascending.
  """

  queries: np.ndarray
  passages: np.ndarray
  examples: np.ndarray


@dataclass(frozen=True)
class Count:
  """What belongs together in the whole data.

  Attributes:
    num_examples: N.
    num_masked: ordered pairs of examples that the loss's keys tell of.
    num_same: [Q], examples of each query.
    others: [Q], for an example of each query, the other examples whose passage
      belongs to it.
  """

  num_examples: int
  num_masked: float
  num_same: np.ndarray
  others: np.ndarray


@dataclass(frozen=True)
class Expectation:
  """Of one batch.

  Attributes:
    batch_size: of which it is told: the one asked for, or all pairs.
    cells: false negatives among its B (B - 1) negatives.
    masked_cells: those that the loss leaves out by its keys.
    query_rate: share of queries with at least one.
    worst_queries: classes of the queries with the most, and how many of the
      data's other pairs have a passage that belongs to them.
  """

  batch_size: int
  cells: float
  masked_cells: float
  query_rate: float
  worst_queries: list[tuple[int, float]]


def classes(*keys: np.ndarray) -> np.ndarray:
  """Which rows are one: [n] whole numbers from 0.

  Two rows are one if any of their keys agree; 0 agrees with nothing.  What
  agrees with a third is one too, by whichever key.
  """
  smallest = np.min_scalar_type(len(keys[0]))
  labels = np.arange(len(keys[0]), dtype=smallest)
  for values in keys:
    known = np.flatnonzero(values)
    _, first, inverse = np.unique(
      values[known], return_index=True, return_inverse=True
    )
    own = labels[known]
    of_first = own[first][inverse]
    del known, first, inverse
    apart = own != of_first  # Mostly none: equal tokens are of equal texts.
    labels = _joined(labels, own[apart], of_first[apart])
  return np.unique(labels, return_inverse=True)[1].astype(smallest)


def _joined(
  labels: np.ndarray, first: np.ndarray, second: np.ndarray
) -> np.ndarray:
  """Labels in which those that an edge joins are one."""
  if not len(first):
    return labels
  size = int(labels.max()) + 1
  graph = sparse.coo_matrix(
    (np.ones(len(first), bool), (first, second)), shape=(size, size)
  )
  return csgraph.connected_components(graph, directed=False)[1][labels]


def count(truth: Relation, masks: Relation) -> Count:
  """Counts what does not depend on the batch.

  Args:
    truth: of what belongs together.
    masks: of what the loss can tell by its keys, a part of `truth`: it knows
      the positives of the example at hand, and the queries in the batch.
  """
  return Count(
    len(truth.queries),
    _num_masked(masks),
    np.bincount(truth.queries),
    _belonging(truth),
  )


def expected(
  counted: Count, batch_size: int, num_worst: int = 5
) -> Expectation:
  """The false negatives of a batch.

  Args:
    batch_size: with more than the data has, all pairs are one batch.

  The number of cells is exact; where queries have several positives, the share
  of queries interpolates between whole numbers of cells.
  """
  num_pairs, others = counted.num_examples, counted.others
  batch_size = min(batch_size, num_pairs)
  chosen = batch_size * (batch_size - 1)
  scale = chosen / max(num_pairs * (num_pairs - 1), 1)
  num_same = counted.num_same
  worst = np.argsort(-others, kind="stable")[:num_worst]
  return Expectation(
    batch_size=batch_size,
    cells=scale * float((num_same * others).sum()),
    masked_cells=scale * counted.num_masked,
    query_rate=float(
      (num_same * _at_least_one(others, num_pairs, batch_size)).sum()
      / max(num_pairs, 1)
    ),
    worst_queries=[
      (int(query), float(others[query])) for query in worst if others[query] > 0
    ],
  )


def _belonging(relation: Relation) -> np.ndarray:
  """For each query, the other examples whose passage belongs to it."""
  queries = relation.queries[relation.examples]
  edges, _ = _pairs_of(queries, relation.passages)
  drawn = np.bincount(relation.passages, weights=_chances(relation))
  # Of an example itself every draw belongs to its query: one of the sum.
  sums = np.bincount(edges[:, 0], weights=drawn[edges[:, 1]])
  return np.maximum(_rounded(sums - 1), 0)


def _num_masked(relation: Relation) -> float:
  """Ordered pairs of examples of which the second's passage is masked.

  By the query's copies, by the example's own positives, less what both see.
  """
  num_examples = len(relation.queries)
  chances = _chances(relation)
  same_query = np.bincount(relation.queries).astype(float)
  by_query = (same_query * (same_query - 1)).sum()
  held, _ = _pairs_of(relation.examples, relation.passages)
  drawn = np.bincount(relation.passages, weights=chances)
  by_passage = drawn[held[:, 1]].sum() - num_examples
  # The same among examples of one query.
  queries = relation.queries[relation.examples]
  _, groups = _pairs_of(queries, relation.passages)
  drawn_of_group = np.bincount(groups, weights=chances)
  _, first = np.unique(
    np.stack([relation.examples, relation.passages], axis=1),
    axis=0,
    return_index=True,
  )
  by_both = drawn_of_group[groups[first]].sum() - num_examples
  return float(by_query + by_passage - by_both)


def _chances(relation: Relation) -> np.ndarray:
  """How likely each positive is the one that its example shows."""
  return (1 / np.bincount(relation.examples))[relation.examples]


def _pairs_of(
  first: np.ndarray, second: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """Distinct rows of two columns, [n, 2], and which one each row is."""
  width = int(second.max(initial=0)) + 1
  distinct, inverse = np.unique(
    first.astype(np.int64) * width + second, return_inverse=True
  )
  return np.stack(np.divmod(distinct, width), axis=1), inverse


def _at_least_one(
  others: np.ndarray, num_pairs: int, batch_size: int
) -> np.ndarray:
  """The chance that a batch with an example holds one of its `others`.

  One less C(N - 1 - h, B - 1) / C(N - 1, B - 1), by gamma functions, which go
  on between whole numbers.
  """
  rest, drawn = num_pairs - 1, batch_size - 1
  if drawn <= 0:
    return np.zeros(len(others))
  left = rest - others  # Those that may be in the batch without harm.
  none = np.zeros(len(others))
  fits = left >= drawn
  none[fits] = np.exp(
    special.gammaln(left[fits] + 1)
    - special.gammaln(left[fits] - drawn + 1)
    - special.gammaln(rest + 1)
    + special.gammaln(rest - drawn + 1)
  )
  return 1 - np.clip(none, 0, 1)


def _rounded(values: np.ndarray) -> np.ndarray:
  """Sums of shares such as 1/3 + 1/3 + 1/3, without what rounding left."""
  near = np.round(values)
  return np.where(np.abs(values - near) < 1e-9, near, values)
