"""From a question to a pair: titles, negatives, and what is refused."""

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from gtr_jax.data import negative_rules
from gtr_jax.data.pair import Pair
from gtr_jax.files import titles
from gtr_jax.labelled.ledger import Ledger
from gtr_jax.labelled.question import LabelledPair, Passage, Question
from gtr_jax.labelled.settings import Settings

# Texts are looked up a few at a time: most candidates are never needed.
_LOOK_UP = 8


def pairs(
  questions: Iterable[Question], settings: Settings, ledger: Ledger
) -> Iterator[LabelledPair]:
  """The pairs of questions, in order.

  Raises:
    lines.BadLineError: bad data, unless it is left out.
    ValueError: titles in some files and none in others; no score to filter by.
  """
  for question in questions:
    pair = _pair(question, settings, ledger)
    if pair is not None:
      ledger.counts["pairs"] += 1
      ledger.counts["positives"] += len(pair.pair.positives)
      ledger.counts["negatives"] += len(pair.pair.negatives)
      ledger.counts["without_negatives"] += not pair.pair.negatives
      yield pair
  _refuse_mixed_titles(settings, ledger)
  if ledger.filtered["no_score"] and not ledger.counts["scored"]:
    raise ValueError(
      "the negatives have no scores to filter by: leave --max_score, --margin"
      " and --relative_margin out, or give the file of the scores"
    )


def _pair(
  question: Question, settings: Settings, ledger: Ledger
) -> LabelledPair | None:
  if not question.text.strip():
    ledger.leave_out("empty_query", f"{question.place}: the query is empty")
    return None
  positives = list(
    _readable(question, question.positives, "positive", settings, ledger)
  )
  if not positives:
    ledger.leave_out(
      "without_positive", f"{question.place}: the query has no positive"
    )
    return None
  negatives = _negatives(question, positives, settings, ledger)
  ledger.counts["scored"] += sum(p.score is not None for p, _ in positives)
  return LabelledPair(
    Pair(
      query=question.text,
      positives=tuple(text for _, text in positives),
      negatives=tuple(text for _, text in negatives),
      query_id=question.id,
      positive_ids=_ids(positives),
      negative_ids=_ids(negatives),
    ),
    _scores(positives),
    _scores(negatives),
  )


Chosen = tuple[Passage, str]  # A passage, and its text with its title.


def _ids(chosen: Sequence[Chosen]) -> tuple[str, ...] | None:
  """None unless all have one."""
  ids = tuple(passage.id for passage, _ in chosen if passage.id is not None)
  return ids if ids and len(ids) == len(chosen) else None


def _scores(chosen: Sequence[Chosen]) -> tuple[float | None, ...] | None:
  scores = tuple(passage.score for passage, _ in chosen)
  return None if all(score is None for score in scores) else scores


def _readable(
  question: Question,
  passages: Iterable[Passage],
  what: str,
  settings: Settings,
  ledger: Ledger,
) -> Iterator[Chosen]:
  """Passages with their texts; unknown, empty, untitled ones are left out."""
  for passage in _looked_up(question, passages, what, ledger):
    text = passage.text or ""
    place = passage.place or question.place
    if settings.titles != "drop":
      file = place.rpartition(":")[0]
      titled = ledger.with_title if passage.title else ledger.without_title
      titled[file] += 1
      if settings.titles == "require" and not passage.title:
        ledger.leave_out(
          "without_title", f"{place}: a {what} has no title, one was due"
        )
        continue
      text = titles.join(passage.title, text)
    if text.strip():
      yield passage, text
    else:
      ledger.leave_out(f"empty_{what}", f"{place}: a {what} is empty")


def _looked_up(
  question: Question, passages: Iterable[Passage], what: str, ledger: Ledger
) -> Iterator[Passage]:
  """The passages with their texts; those of unknown ids are left out."""
  look_up = question.look_up
  if look_up is None:
    yield from passages
    return
  waiting = iter(passages)
  while batch := list(itertools.islice(waiting, _LOOK_UP)):
    found = look_up([passage.id or "" for passage in batch])
    for passage, known in zip(batch, found, strict=True):
      if known is not None:
        yield known._replace(score=passage.score)
      else:
        ledger.leave_out(
          f"unknown_{what}",
          f"{passage.place or question.place}: the {what} {passage.id!r} is in"
          " no file of passages",
        )


def _negatives(
  question: Question,
  positives: Sequence[Chosen],
  settings: Settings,
  ledger: Ledger,
) -> list[Chosen]:
  rules, filtered = settings.rules, ledger.filtered
  refused_ids = {p.id for p, _ in positives} | set(question.known_ids)
  refused_ids.discard(None)
  text_key = negative_rules.text_key
  refused = {text_key(text): "copy_of_positive" for _, text in positives}
  refused[text_key(question.text)] = "copy_of_query"
  scores = [p.score for p, _ in positives if p.score is not None]
  allowed = _allowed(
    _in_order(question, rules.seed),
    refused_ids,
    min(scores, default=None),
    rules,
    ledger,
  )
  chosen: list[Chosen] = []
  if not rules.num_negatives:
    return chosen
  for passage, text in _readable(
    question, allowed, "negative", settings, ledger
  ):
    key = text_key(text)
    if key in refused:
      filtered[refused[key]] += 1
      continue
    refused[key] = "copy_of_negative"
    chosen.append((passage, text))
    if len(chosen) == rules.num_negatives:
      break
  return chosen


def _allowed(
  passages: Iterable[Passage],
  refused_ids: set[str | None],
  positive_score: float | None,
  rules: negative_rules.Rules,
  ledger: Ledger,
) -> Iterator[Passage]:
  """Candidates that their ids and scores allow."""
  by_margin = rules.margin is not None or rules.relative_margin is not None
  by_score = by_margin or rules.max_score is not None
  seen = set(refused_ids)
  for passage in passages:
    if passage.id is not None and passage.id in seen:
      repeated = passage.id not in refused_ids
      ledger.filtered["repeated" if repeated else "positive"] += 1
      continue
    seen.add(passage.id)
    reason = None
    if by_score:
      if passage.score is None or (by_margin and positive_score is None):
        reason = "no_score"
      else:
        ledger.counts["scored"] += 1
        # Without a margin the positive's score is not looked at.
        reason = rules.too_near(passage.score, positive_score or 0.0)
    if reason:
      ledger.filtered[reason] += 1
    else:
      yield passage


def _in_order(question: Question, seed: int | None) -> Iterable[Passage]:
  """As they came, or shuffled by the query and a seed."""
  if seed is None:
    return question.negatives
  key = question.id if question.id is not None else question.text
  digest = hashlib.sha256(key.encode()).digest()
  rng = np.random.default_rng([seed, *digest])
  order = rng.permutation(len(question.negatives)).tolist()
  return (question.negatives[place] for place in order)


def _refuse_mixed_titles(settings: Settings, ledger: Ledger) -> None:
  """Files with titles beside files without: two corpora in one."""
  if settings.titles == "drop":
    return
  bare = [f for f in ledger.without_title if f not in ledger.with_title]
  if bare and ledger.with_title:
    titled = next(iter(ledger.with_title))
    raise ValueError(
      f"{titled} has titles and {bare[0]} has none: these are two corpora, make"
      " their pairs apart, or give --titles=drop"
    )
