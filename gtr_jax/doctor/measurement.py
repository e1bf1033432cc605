"""What is measured on a few pairs by themselves, so that processes share it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from gtr_jax.data import vocabulary
from gtr_jax.data.pair import Pair
from gtr_jax.doctor import encoding_trouble, fingerprints, overlap
from gtr_jax.types import TowerName

Role = str  # "query", "positive" or "negative".

# Tokens of a text that says next to nothing, at most, EOS not counted.
SHORT: Mapping[TowerName, int] = {"query": 1, "passage": 3}
_EXAMPLES = 5  # Of each finding in a chunk.
_EXCERPT = 160


@dataclass(frozen=True)
class Texts:
  """Numbers of the texts of one tower, a row a text.

  Attributes:
    text_keys: uint64 [n], of the text as `fingerprints.plain` has it.
    token_keys: uint64 [n], of the tokens that the model reads.
    id_keys: uint64 [n], 0 where there is no id.
    tokens: int64 [n], of the whole text, prompt and EOS included.
  """

  text_keys: np.ndarray
  token_keys: np.ndarray
  id_keys: np.ndarray
  tokens: np.ndarray


@dataclass(frozen=True)
class Sighting:
  """A place where something was found, and what is to be seen there.

  Attributes:
    size: how bad it is; tokens, where a text is too long.
  """

  pair: int
  role: Role
  excerpt: str
  size: int = 0


@dataclass
class Seen:
  """How many texts show something, and the worst few; of equals the first."""

  count: int = 0
  examples: list[Sighting] = field(default_factory=list)

  def add(self, sighting: Sighting, at_most: int = _EXAMPLES) -> None:
    self.count += 1
    worst = self.examples
    if len(worst) < at_most or sighting.size > worst[-1].size:
      worst.append(sighting)
      worst.sort(key=lambda one: -one.size)
      del worst[at_most:]


@dataclass(frozen=True)
class Meeting:
  """Training and evaluation text with a run in common, or equal.

  Attributes:
    owner: place among the evaluation texts.
    num_runs: that both have; 0 if the whole texts are equal.
    excerpt: the words that both have.
  """

  pair: int
  role: Role
  owner: int
  num_runs: int
  excerpt: str


@dataclass(frozen=True)
class Met:
  """What a chunk has in common with one index.

  Attributes:
    equal_owners, run_owners: int64, evaluation texts that were met.
    pairs: int64, training pairs that met one, each once.
    meetings: the strongest few.
  """

  equal_owners: np.ndarray
  run_owners: np.ndarray
  pairs: np.ndarray
  meetings: list[Meeting]


@dataclass(frozen=True)
class Chunk:
  """What was measured; `pair` counts from 0 within the chunk.

  Attributes:
    passages: of the positives of each pair, then its negatives.
    num_positives, num_negatives: int64 [n].
    seen: by the name of what was seen.
    met: one an index.
  """

  queries: Texts
  passages: Texts
  num_positives: np.ndarray
  num_negatives: np.ndarray
  seen: Mapping[str, Seen]
  met: Sequence[Met]


@dataclass(frozen=True)
class Measurement:
  """Measures chunks of pairs.

  Attributes:
    lengths: tokens of a text that the model reads.
    indexes: of evaluation texts.
  """

  tokenizer: vocabulary.Tokenizer
  lengths: Mapping[TowerName, int]
  indexes: Sequence[overlap.Index] = ()

  def __call__(self, pairs: Sequence[Pair]) -> Chunk:
    queries = [pair.query for pair in pairs]
    places = list(_places(pairs))
    passages = [text for _, _, text in places]
    owners = [(number, role) for number, role, _ in places]
    plain_queries = list(map(fingerprints.plain, queries))
    plain_passages = list(map(fingerprints.plain, passages))
    query_facts = self._texts(
      queries, plain_queries, [pair.query_id for pair in pairs], "query"
    )
    passage_facts = self._texts(
      passages, plain_passages, list(_passage_ids(pairs)), "passage"
    )
    texts = [*queries, *passages]
    all_owners = [
      *((number, "query") for number in range(len(pairs))),
      *owners,
    ]
    seen: dict[str, Seen] = {}
    self._note_lengths(query_facts, "query", queries, all_owners, seen)
    self._note_lengths(passage_facts, "passage", passages, owners, seen)
    _note_trouble(texts, all_owners, seen)
    _note_echoes(plain_queries, plain_passages, owners, seen)
    return Chunk(
      query_facts,
      passage_facts,
      np.array([len(pair.positives) for pair in pairs], np.int64),
      np.array([len(pair.negatives) for pair in pairs], np.int64),
      seen,
      self._met(
        [*plain_queries, *plain_passages],
        np.concatenate([query_facts.text_keys, passage_facts.text_keys]),
        all_owners,
      ),
    )

  def _texts(
    self,
    texts: Sequence[str],
    plain: Sequence[str],
    ids: Sequence[str | None],
    tower: TowerName,
  ) -> Texts:
    rows, _ = self.tokenizer.encode(texts, 2**30, tower)
    length = self.lengths[tower]
    # As many as remain when EOS takes the last place.
    token_keys = fingerprints.keys(
      row[: min(length, len(row)) - 1].tobytes() for row in rows
    )
    has_id = np.array([identifier is not None for identifier in ids], bool)
    id_keys = fingerprints.keys(
      (identifier or "").encode() for identifier in ids
    )
    return Texts(
      fingerprints.keys(text.encode() for text in plain),
      token_keys,
      np.where(has_id, id_keys, 0).astype(np.uint64),
      np.array([len(row) for row in rows], np.int64),
    )

  def _note_lengths(
    self,
    facts: Texts,
    tower: TowerName,
    texts: Sequence[str],
    owners: Sequence[tuple[int, Role]],
    seen: dict[str, Seen],
  ) -> None:
    (nothing,), _ = self.tokenizer.encode([""], 2**30, tower)
    content = facts.tokens - len(nothing)
    for name, which in (
      ("empty", content <= 0),
      ("short", (content > 0) & (content <= SHORT[tower])),
      (f"truncated_{tower}", facts.tokens > self.lengths[tower]),
    ):
      for place in np.flatnonzero(which).tolist():
        size = int(facts.tokens[place]) if name.startswith("trunc") else 0
        _see(seen, name, *owners[place], texts[place], size)

  def _met(
    self,
    plain: Sequence[str],
    keys: np.ndarray,
    owners: Sequence[tuple[int, Role]],
  ) -> list[Met]:
    if not self.indexes:
      return []
    runs = fingerprints.runs(plain)
    return [_met(index, runs, plain, keys, owners) for index in self.indexes]


def _places(pairs: Sequence[Pair]) -> Iterator[tuple[int, Role, str]]:
  for number, pair in enumerate(pairs):
    yield from ((number, "positive", text) for text in pair.positives)
    yield from ((number, "negative", text) for text in pair.negatives)


def _passage_ids(pairs: Sequence[Pair]) -> Iterator[str | None]:
  for pair in pairs:
    yield from pair.positive_ids or [None] * len(pair.positives)
    yield from pair.negative_ids or [None] * len(pair.negatives)


def _note_trouble(
  texts: Sequence[str],
  owners: Sequence[tuple[int, Role]],
  seen: dict[str, Seen],
) -> None:
  find = encoding_trouble.finder()
  for text, owner in zip(texts, owners, strict=True):
    for kind, excerpt in find(text):
      _see(seen, kind, *owner, excerpt)


def _note_echoes(
  plain_queries: Sequence[str],
  plain_passages: Sequence[str],
  owners: Sequence[tuple[int, Role]],
  seen: dict[str, Seen],
) -> None:
  """A query that is its own answer teaches to find equal texts."""
  for text, (number, role) in zip(plain_passages, owners, strict=True):
    if role == "positive" and text == plain_queries[number]:
      _see(seen, "echo", number, role, text)


def _met(
  index: overlap.Index,
  runs: fingerprints.Runs,
  plain: Sequence[str],
  keys: np.ndarray,
  owners: Sequence[tuple[int, Role]],
) -> Met:
  equal = overlap.equal_texts(index, keys)
  shared = overlap.shared_runs(index, runs)
  order = np.argsort(-shared.num_runs, kind="stable")[:_EXAMPLES]
  few = [
    *((equal, row) for row in range(min(len(equal.texts), _EXAMPLES))),
    *((shared, int(row)) for row in order),
  ]
  texts = np.concatenate([equal.texts, shared.texts])
  return Met(
    np.unique(equal.owners),
    np.unique(shared.owners),
    np.unique([owners[text][0] for text in texts]).astype(np.int64),
    [_meeting(hits, row, plain, owners) for hits, row in few],
  )


def _meeting(
  hits: overlap.Hits,
  row: int,
  plain: Sequence[str],
  owners: Sequence[tuple[int, Role]],
) -> Meeting:
  text, num_runs = int(hits.texts[row]), int(hits.num_runs[row])
  excerpt = plain[text]
  if num_runs:
    start = int(hits.starts[row])
    run = fingerprints.words(excerpt)[start : start + fingerprints.RUN_WORDS]
    excerpt = " ".join(run)
  number, role = owners[text]
  owner = int(hits.owners[row])
  return Meeting(number, role, owner, num_runs, excerpt[:_EXCERPT])


def _see(
  seen: dict[str, Seen],
  name: str,
  pair: int,
  role: Role,
  text: str,
  size: int = 0,
) -> None:
  excerpt = text if len(text) <= _EXCERPT else text[:_EXCERPT] + "…"
  seen.setdefault(name, Seen()).add(Sighting(pair, role, excerpt, size))
