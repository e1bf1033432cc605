"""Texts to embeddings."""

import collections
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jax.sharding import Mesh
from jaxtyping import Int

from gtr_jax.files import titles
from gtr_jax.retrieval import batching
from gtr_jax.retrieval.towers import Embeddings, Report
from gtr_jax.types import TokenRows, TowerName

_WINDOW = 16_384


class RowTowers(Protocol):
  """Both towers: rows of token ids to embeddings, in batches that they plan."""

  @property
  def mesh(self) -> Mesh | None: ...

  def plan(self, rows: Sequence[np.ndarray]) -> list[batching.Batch]: ...

  def encode(
    self,
    rows: Sequence[np.ndarray],
    batches: Sequence[batching.Batch],
    tower: TowerName,
    meanwhile: Callable[[], None] = lambda: None,
    report: Report | None = None,
  ) -> Embeddings:
    """See `towers.Towers.encode`."""
    ...

  def nothing(self, tower: TowerName, num_texts: int = 0) -> Embeddings: ...


@dataclass(frozen=True)
class Encoder:
  """A trained dual encoder with its tokenizer: texts in, unit vectors out.

  A text's embedding does not depend on the texts beside it, on their order or
  on the batches, up to the rounding of the activations (1e-6 in float32).

  Attributes:
    towers: what computes; `towers.Towers`, or `foreign_towers.ForeignTowers`.
    tokenizer: None where a model came without a vocabulary; then only
      `encode_tokens` works.
    query_length, passage_length: tokens of a text at most, EOS included.
    vocab_size: rows of the token table; ids from there on are refused.  None
      checks nothing.
    checkpoint_hash: names the parameters in what is made with them.
    step: of the checkpoint.
  """

  towers: RowTowers
  tokenizer: TokenRows | None
  query_length: int = 64
  passage_length: int = 512
  vocab_size: int | None = None
  checkpoint_hash: str | None = None
  step: int | None = None

  def __post_init__(self):
    for name in ("query_length", "passage_length"):
      value = getattr(self, name)
      if value < 1:
        raise ValueError(f"{name} is {value}: give 1 or more")

  @property
  def mesh(self) -> Mesh | None:
    """Devices that share each batch; None is one."""
    return self.towers.mesh

  def encode_queries(self, queries: Sequence[str]) -> Embeddings:
    """Unit vectors of queries, in their order."""
    return self.encode_texts(queries, "query")[0]

  def encode_passages(
    self, passages: Sequence[Mapping[str, str] | str]
  ) -> Embeddings:
    """Unit vectors of passages: plain texts, or with `title` and `text`."""
    _check_sequence(passages, "passages")
    return self.encode_texts(list(map(join_title, passages)), "passage")[0]

  def encode_texts(
    self,
    texts: Sequence[str],
    tower: TowerName,
    report: Report | None = None,
  ) -> tuple[Embeddings, int]:
    """Embeddings of texts, and how many of them were cut to the length.

    Args:
      report: called with the numbers of texts that are done.
    """
    _check_sequence(texts, "texts")
    _check_tower(tower)
    if not len(texts):
      return self.towers.nothing(tower), 0
    windows = self.encode_windows(_windows(texts), tower, report)
    embeddings, cuts = zip(*windows, strict=True)
    return np.concatenate(embeddings), sum(cuts)

  def encode_stream(
    self,
    passages: Iterable[Mapping[str, str]],
    tower: TowerName = "passage",
    window: int = _WINDOW,
    report: Report | None = None,
  ) -> Iterator[tuple[list[str], Embeddings]]:
    """Ids and embeddings of passages with `_id`, a window at a time, in order.

    Memory holds two windows, whatever the length of the stream.
    """
    ids: collections.deque[list[str]] = collections.deque()

    def texts() -> Iterator[list[str]]:
      for part in _windows(passages, window):
        ids.append([passage["_id"] for passage in part])
        yield list(map(join_title, part))

    for embeddings, _ in self.encode_windows(texts(), tower, report):
      yield ids.popleft(), embeddings

  def encode_windows(
    self,
    windows: Iterable[Sequence[str]],
    tower: TowerName,
    report: Report | None = None,
  ) -> Iterator[tuple[Embeddings, int]]:
    """Embeddings of each window of texts, and how many texts were cut.

    Each window is batched by itself, so that its embeddings are the
    same to the bit whatever the windows around it.  While the devices work on
    one, the next is tokenized.
    """
    _check_tower(tower)
    tokenize = functools.partial(self._tokenize, tower=tower)
    batches: list[batching.Batch] = []
    window: tuple[list[np.ndarray], int] | None = None
    for texts in itertools.chain(windows, [()]):
      following = _Following(tokenize, texts, num_steps=len(batches))
      if window is not None:
        rows, num_cut = window
        embeddings = self.towers.encode(
          rows, batches, tower, following.step, report
        )
        yield embeddings, num_cut
      window = following.finish()
      batches = self.towers.plan(window[0])

  def encode_tokens(
    self, ids: Int[np.ndarray, "n L"], tower: TowerName = "query"
  ) -> Embeddings:
    """Unit vectors of token ids, 0 is padding; L may be anything.

    Nothing is cut and no EOS is added.  A row of padding alone gives zeros, as
    in T5X.

    Raises:
      ValueError: not a matrix of integers, or ids that the model lacks.
    """
    _check_tower(tower)
    ids = np.asarray(ids)
    _check_ids(ids, self.vocab_size)
    place = np.arange(1, ids.shape[1] + 1)
    lengths = np.where(ids > 0, place[None], 0).max(axis=1, initial=0)
    rows = [
      row[:length].astype(np.int32)
      for row, length in zip(ids, lengths, strict=True)
    ]
    return self.towers.encode(rows, self.towers.plan(rows), tower)

  def length(self, tower: TowerName) -> int:
    """Tokens of a text at most, EOS included."""
    return self.query_length if tower == "query" else self.passage_length

  def _tokenize(
    self, texts: Sequence[str], tower: TowerName
  ) -> tuple[list[np.ndarray], int]:
    if self.tokenizer is None:
      raise ValueError(
        "the model has no vocabulary and takes token ids only: put vocabulary/"
        " into the model directory"
      )
    return self.tokenizer.encode(list(texts), self.length(tower), tower)


class _Following:
  """The window after the present one, tokenized in steps between other work."""

  def __init__(self, tokenize: Callable, texts: Sequence[str], num_steps: int):
    self._tokenize = tokenize
    self._parts = _windows(texts, max(1, -(-len(texts) // max(1, num_steps))))
    self._rows: list[np.ndarray] = []
    self._num_cut = 0

  def step(self) -> None:
    self._take(itertools.islice(self._parts, 1))

  def finish(self) -> tuple[list[np.ndarray], int]:
    """Token ids of all texts, and how many texts were cut."""
    self._take(self._parts)
    return self._rows, self._num_cut

  def _take(self, parts: Iterable[list[str]]) -> None:
    for part in parts:
      rows, num_cut = self._tokenize(part)
      self._rows += rows
      self._num_cut += num_cut


def join_title(passage: Mapping[str, str] | str) -> str:
  """Title and text with a space between, as BEIR joins them.

  Raises:
    ValueError: a passage without `text`, or with one that is no string.
  """
  if isinstance(passage, str):
    return passage
  if not isinstance(passage, Mapping) or "text" not in passage:
    raise ValueError(
      f"a passage is {passage!r:.100}, due is a string or a dict with text"
      " and, where there is one, title"
    )
  title, text = passage.get("title") or "", passage["text"]
  if not isinstance(title, str) or not isinstance(text, str):
    raise ValueError(
      f"title and text of a passage are {type(title).__name__} and"
      f" {type(text).__name__}, strings were due"
    )
  return titles.join(title, text)


def _windows(items: Iterable, size: int = _WINDOW) -> Iterator[list]:
  items = iter(items)
  while window := list(itertools.islice(items, size)):
    yield window


def _check_sequence(texts: Sequence, name: str) -> None:
  if isinstance(texts, (str, bytes, Mapping)):
    raise ValueError(
      f"{name} is one {type(texts).__name__}, a list was due: put it into []"
    )


def _check_tower(tower: str) -> None:
  if tower not in ("query", "passage"):
    raise ValueError(f"tower is {tower!r}: it is 'query' or 'passage'")


def _check_ids(ids: np.ndarray, vocab_size: int | None) -> None:
  if ids.ndim != 2 or not np.issubdtype(ids.dtype, np.integer):
    raise ValueError(
      f"token ids are {ids.dtype} {ids.shape}, due are integers [n, L]"
    )
  limit = 2**31 if vocab_size is None else vocab_size
  wrong = ids[(ids < 0) | (ids >= limit)]
  if wrong.size:
    raise ValueError(
      f"token id {wrong[0]} is not among the model's, 0 to {limit - 1}: use"
      " the tokenizer of this model"
    )
