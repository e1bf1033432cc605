"""What was found, as problems: how many, what it costs, what to do.

The order of the list is that of the harm.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from gtr_jax.doctor import encoding_trouble, fingerprints, repetition
from gtr_jax.doctor import examination as examination_lib
from gtr_jax.doctor.examination import Examination, Shared
from gtr_jax.doctor.finding import (
  LANGUAGES,
  NAMES,
  NEAR,
  OVERLAP,
  BadLines,
  Finding,
  Offender,
)
from gtr_jax.doctor.measurement import Seen
from gtr_jax.types import TowerName


def looked_for(has_evaluations: bool, compares: bool) -> list[str]:
  """Names of what is looked for with the libraries that are installed.

  Args:
    has_evaluations: whether there is evaluation data.
    compares: whether near-duplicates are asked for.
  """
  missing = {
    *(() if has_evaluations else OVERLAP),
    *(() if compares and repetition.can_compare() else NEAR),
    *(() if examination_lib.can_tell_languages() else LANGUAGES),
    *(() if encoding_trouble.can_see_mojibake() else ("mojibake",)),
  }
  return [name for name in NAMES if name not in missing]


def find(examination: Examination, bad: BadLines) -> list[Finding]:
  """Everything that was looked for, the most harmful first."""
  found = [
    *_of_reading(examination, bad),
    *_of_lengths(examination),
    *_of_repetition(examination),
    *_of_relations(examination),
    *_of_encoding(examination),
    *_of_languages(examination),
    *_of_overlap(examination),
  ]
  return sorted(found, key=lambda one: -one.harm)


def _of_reading(examination: Examination, bad: BadLines) -> Iterator[Finding]:
  num_lines = examination.num_pairs + bad.num_lines
  yield Finding(
    "bad_lines",
    "lines that hold no pair",
    bad.num_lines,
    num_lines,
    20.0,
    "repair them, or train with ON_BAD_LINE = 'skip': training stops at the"
    " first",
    [Offender((), "", text, place=place) for place, text in bad.examples],
  )
  seen = examination.seen.get("empty", Seen())
  yield Finding(
    "empty",
    "empty texts",
    seen.count + bad.num_empty,
    _num_texts(examination) + bad.num_empty,
    20.0,
    "delete these lines: an empty text is near to everything",
    _sightings(seen),
  )
  too_few = examination.num_pairs < examination.batch_size
  yield Finding(
    "too_few_pairs",
    f"batches of {examination.batch_size:,} that the data cannot fill",
    int(too_few),
    1,
    20.0,
    f"set BATCH_SIZE to {examination.num_pairs:,} or less: training refuses to"
    " start",
  )


def _of_lengths(examination: Examination) -> Iterator[Finding]:
  weights: dict[TowerName, float] = {"query": 1.0, "passage": 0.2}
  for tower, weight in weights.items():
    length = examination.lengths[tower]
    yield Finding(
      f"truncated_{tower}",
      f"{'queries' if tower == 'query' else 'passages'} of more than"
      f" {length.limit} tokens",
      length.num_truncated,
      length.num_texts,
      weight,
      f"the longest 5 % have {length.quantile(0.95):,} tokens or more: "
      + ("shorten them" if tower == "query" else "cut them into passages")
      + ", or raise TASK_FEATURE_LENGTHS",
      _sightings(examination.seen.get(f"truncated_{tower}", Seen())),
      f"{length.lost_rate:.1%} of the tower's tokens are never read",
    )
  yield Finding(
    "short",
    "texts of next to nothing",
    examination.seen.get("short", Seen()).count,
    _num_texts(examination),
    0.5,
    "delete them if they do not tell one passage from another",
    _sightings(examination.seen.get("short", Seen())),
    "queries of 1 token, passages of 3 tokens or fewer",
  )


def _of_repetition(examination: Examination) -> Iterator[Finding]:
  words = {
    "pairs": ("duplicates", 0.5, "keep one of each: the rest are epochs more"),
    "queries": (
      "duplicate_queries",
      0.02,
      "join them into one line with several positives: the loss then knows all",
    ),
    "passages": (
      "duplicate_passages",
      0.02,
      "no harm where many questions have one answer; answers that fit any"
      " question teach nothing: delete those",
    ),
  }
  for what, (name, weight, advice) in words.items():
    again = examination.again[what]
    yield Finding(
      name,
      f"{what} that come again, word for word",
      again.num_again,
      again.num_rows,
      weight,
      advice,
      [
        _rows(examination, what, [first, second], f"{count:,} times")
        for count, first, second in again.largest
      ],
      "but for case, white space and punctuation at the ends",
    )
  for what, near in examination.nearly.items():
    yield Finding(
      f"near_duplicate_{what}",
      f"{what} nearly equal to an earlier one",
      near.num_again,
      near.num_compared,
      0.1,
      "look whether they say the same: then they are negatives of each other's"
      " partners, and no key can tell",
      [
        _rows(examination, what, [earlier, row])
        for row, earlier in near.examples
      ],
      f"of the first {near.num_compared:,}; equal ones are not counted",
    )


def _of_relations(examination: Examination) -> Iterator[Finding]:
  expected = examination.expectation
  unmasked = max(expected.cells - expected.masked_cells, 0.0)
  yield Finding(
    "false_negatives",
    "false negatives expected in a batch, of which the loss's keys mask"
    f" {expected.masked_cells:,.1f}",
    expected.cells,
    expected.batch_size,
    unmasked / expected.cells if expected.cells else 0.0,
    "join lines of one query into one with all its positives, remove repeated"
    " answers, or take a smaller batch",
    [
      Offender((pair,), "query", note=f"{others:,.0f} other pairs answer it")
      for pair, others in examination.worst_query_pairs
    ],
    f"{expected.query_rate:.1%} of the queries meet at least one in a batch of"
    f" {expected.batch_size:,}; {unmasked:,.1f} are not masked",
  )
  wrong = examination.contradictions
  yield Finding(
    "contradictions",
    "negatives that are a positive of the same query elsewhere",
    wrong.num_same_query,
    wrong.num_negatives,
    20.0,
    "delete them: the same passage is pulled and pushed",
    [Offender(pairs, "query") for pairs in wrong.examples],
  )
  yield Finding(
    "negatives_elsewhere",
    "negatives that are a positive of another query",
    wrong.num_elsewhere,
    wrong.num_negatives,
    0.001,
    "usual for mined negatives; look at a few",
  )
  conflicts = examination.id_conflicts
  yield Finding(
    "id_conflicts",
    "ids that stand for different texts",
    conflicts.num_ids,
    conflicts.num_all,
    5.0,
    "number each collection by itself: the loss takes equal ids for one text",
    [
      Offender(pairs, "query" if tower == "query" else "positive")
      for tower, pairs in conflicts.examples
    ],
  )
  echo = examination.seen.get("echo", Seen())
  yield Finding(
    "echoes",
    "positives that are their own query",
    echo.count,
    examination.num_positives,
    5.0,
    "delete them: they teach to find equal texts",
    _sightings(echo),
  )


def _of_encoding(examination: Examination) -> Iterator[Finding]:
  words = {
    "nul": ("with NUL characters", 2.0, "repair what wrote them"),
    "replacement": (
      "with U+FFFD, where a character was lost",
      1.0,
      "read the source in its own encoding",
    ),
    "control": ("with control characters", 1.0, "strip them"),
    "invisible": ("with invisible characters", 0.1, "strip them"),
    "html": ("with HTML tags or entities", 0.3, "convert HTML to text"),
    "mojibake": (
      "read in a wrong encoding (Ã© for é)",
      2.0,
      "repair them: ftfy.fix_text undoes most",
    ),
  }
  for kind in encoding_trouble.KINDS:
    if kind == "mojibake" and not encoding_trouble.can_see_mojibake():
      continue
    title, weight, advice = words[kind]
    seen = examination.seen.get(kind, Seen())
    yield Finding(
      kind,
      f"texts {title}",
      seen.count,
      _num_texts(examination),
      weight,
      advice,
      _sightings(seen),
    )


def _of_languages(examination: Examination) -> Iterator[Finding]:
  if examination.languages is None:
    return
  for tower, counts in examination.languages.items():
    known = {code: count for code, count in counts.items() if code}
    total = sum(known.values())
    main = max(known, key=lambda code: known[code], default="")
    others = sorted(known.items(), key=lambda one: -one[1])
    yield Finding(
      f"other_languages_{tower}",
      f"{'queries' if tower == 'query' else 'passages'} in another language"
      f" than {main or '?'}",
      total - known.get(main, 0),
      total,
      0.02,
      "right for a multilingual model with such a vocabulary; else filter",
      remark=", ".join(f"{code} {n / total:.1%}" for code, n in others[:8])
      + f"; of {sum(counts.values()):,} texts drawn, {counts['']:,} of them too"
      " short or mixed to tell",
    )


def _of_overlap(examination: Examination) -> Iterator[Finding]:
  for shared in examination.shared:
    is_queries = shared.role == "queries"
    yield Finding(
      f"overlap_{shared.role}",
      f"{'queries' if is_queries else 'passages'} of {shared.collection} that"
      " the training data holds",
      shared.num_either,
      shared.num_texts,
      100.0 if is_queries else 0.2,
      "delete the pairs that hold them: the measure counts what was learnt by"
      " heart"
      if is_queries
      else "no harm where training shares the corpus by design; else delete",
      [
        Offender(
          (meeting.pair,),
          meeting.role,
          meeting.excerpt,
          f"{shared.collection} {identifier}, "
          + (
            f"{meeting.num_runs} runs" if meeting.num_runs else "the whole text"
          ),
        )
        for identifier, meeting in shared.meetings
      ],
      _overlap_remark(shared),
    )


def _overlap_remark(shared: Shared) -> str:
  runs = f"{shared.num_sharing:,} share {fingerprints.RUN_WORDS} words in a row"
  sampled = (
    f"; one run in {shared.every} was compared" if shared.every > 1 else ""
  )
  return (
    f"{shared.num_equal:,} are there as a whole, {runs}; {shared.num_pairs:,}"
    f" pairs hold them{sampled}"
  )


def _sightings(seen: Seen) -> list[Offender]:
  return [
    Offender((one.pair,), one.role, one.excerpt, _tokens(one.size))
    for one in seen.examples
  ]


def _tokens(count: int) -> str:
  return f"{count:,} tokens" if count else ""


def _rows(
  examination: Examination, what: str, rows: Sequence[int], note: str = ""
) -> Offender:
  """Rows of queries or pairs of texts that come again, or of positives."""
  if what == "queries":
    return Offender(tuple(rows), "query", note=note)
  owners = examination.positive_rows
  pairs = tuple(int(owners[row]) for row in rows)
  firsts = np.searchsorted(owners, pairs)
  which = tuple(
    int(row - first) for row, first in zip(rows, firsts, strict=True)
  )
  role = "positive" if what == "passages" else "query"
  return Offender(pairs, role, note=note, which=which)


def _num_texts(examination: Examination) -> int:
  return (
    examination.num_pairs
    + examination.num_positives
    + examination.num_negatives
  )
