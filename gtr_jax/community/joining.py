"""Joins answers to their questions, on disk: memory stays flat.

Posts are dealt to files by the number of their question, each file is joined in
memory by itself, and the pairs of all files are merged into the order of the
questions.  The result depends on neither the number of files nor of processes.

Source: Kitsuregawa et al., 1983 (GRACE hash join,
https://doi.org/10.1007/BF03037022).
"""

import collections
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from gtr_jax.community import blocks, spill, workers
from gtr_jax.community.choosing import Rules
from gtr_jax.community.post import Post
from gtr_jax.community.tally import Tally
from gtr_jax.data.pair import Pair
from gtr_jax.files.lines import BadLineError, OnBadLine

# The posts of a block of records; a name for a record that is none.
ParsePosts = Callable[[blocks.Block], Iterable[Post | str]]
# The records of a block, a block each.
Single = Callable[[blocks.Block], Iterable[blocks.Block]]

_MAX_BUCKETS = 2048
_BUCKET_BYTES = 1 << 25


@dataclass(frozen=True)
class Dump:
  """How the records of a dump become posts.

  Attributes:
    parse: raises BadLineError at a bad record.
    single: cuts a block in which there is a bad record.
  """

  parse: ParsePosts
  single: Single


@dataclass(frozen=True)
class Counted:
  """What a step counted, and the first bad record that it left out."""

  tally: Tally
  first_bad: str = ""


def num_buckets(num_bytes: int) -> int:
  """Files for a dump of so many bytes, so that each fits into memory."""
  return min(_MAX_BUCKETS, 1 + num_bytes // _BUCKET_BYTES)


@dataclass(frozen=True)
class Deal:
  """The first step, for one block: its posts into files."""

  dump: Dump
  folder: pathlib.Path
  num_buckets: int
  on_bad_line: OnBadLine

  def __call__(self, block: blocks.Block) -> Counted:
    tally: Tally = Tally()
    dealt: dict[int, list[tuple]] = collections.defaultdict(list)
    posts, first_bad = self._posts(block, tally)
    for post in posts:
      tally["records.in"] += 1
      if isinstance(post, str):
        tally[f"records.left_out.{post}"] += 1
        continue
      is_question = post.question is None
      tally["questions.in" if is_question else "answers.in"] += 1
      key = post.number if post.question is None else post.question
      dealt[key % self.num_buckets].append(tuple(post))
    for bucket, rows in dealt.items():
      spill.append(self.folder / f"posts-{bucket}-{os.getpid()}", rows)
    return Counted(tally, first_bad)

  def _posts(
    self, block: blocks.Block, tally: Tally
  ) -> tuple[list[Post | str], str]:
    try:
      return list(self.dump.parse(block)), ""
    except BadLineError:
      if self.on_bad_line == "error":
        raise
    posts: list[Post | str] = []
    first_bad = ""
    for record in self.dump.single(block):
      try:
        posts += self.dump.parse(record)
      except BadLineError as error:
        tally["records.in"] += 1
        tally["records.left_out.bad"] += 1
        first_bad = first_bad or str(error)
    return posts, first_bad


@dataclass(frozen=True)
class Join:
  """The second step, for one bucket: a sorted file of pairs."""

  folder: pathlib.Path
  rules: Rules
  on_bad_line: OnBadLine

  def __call__(self, bucket: int) -> Counted:
    tally: Tally = Tally()
    files = sorted(self.folder.glob(f"posts-{bucket}-*"))
    posts = [Post(*row) for file in files for row in spill.read(file)]
    for file in files:
      file.unlink()
    spill.write(
      pairs_file(self.folder, bucket),
      (
        (number, pair.query, pair.positives, pair.query_id, pair.positive_ids)
        for number, pair in paired(posts, self.rules, self.on_bad_line, tally)
      ),
    )
    return Counted(tally)


def paired(
  posts: Iterable[Post], rules: Rules, on_bad_line: OnBadLine, tally: Tally
) -> Iterator[tuple[int, Pair]]:
  """The pairs of posts, answers with their questions, and their numbers.

  Raises:
    BadLineError: one id twice, unless it is skipped.
  """
  posts = _unique(posts, on_bad_line, tally)
  questions = {post.number: post for post in posts if post.question is None}
  answers: dict[int, list[Post]] = collections.defaultdict(list)
  for post in posts:
    if post.question is None:
      continue
    if post.question in questions:
      answers[post.question].append(post)
    else:
      tally["answers.left_out.without_question"] += 1
  for number, question in sorted(questions.items()):
    pair = rules.choose(question, answers[number], tally)
    if pair is not None:
      yield number, pair


def _unique(
  posts: Iterable[Post], on_bad_line: OnBadLine, tally: Tally
) -> list[Post]:
  """Of posts with one id one, whatever the order that they came in."""
  kept: dict[tuple[int, int | None], Post] = {}
  for post in sorted(posts, key=_content):
    other = kept.setdefault((post.number, post.question), post)
    if other is post:
      continue
    if on_bad_line == "error":
      before, again = sorted((other.place, post.place), key=_file_and_line)
      raise BadLineError(
        f"{again}: the id {post.id} came before, at {before}: delete one"
      )
    kind = "questions" if post.question is None else "answers"
    tally[f"{kind}.left_out.duplicate_id"] += 1
  return list(kept.values())


def _content(post: Post) -> tuple:
  """Orders posts by all that they say, not by their place."""
  nothing = -1
  return tuple(
    nothing if value is None else value for value in post._replace(place="")
  )


def _file_and_line(place: str) -> tuple[str, int]:
  file, _, line = place.rpartition(":")
  return file, int(line)


def pairs_file(folder: pathlib.Path, bucket: int) -> pathlib.Path:
  return folder / f"pairs-{bucket}"


def join(
  records: Iterable[blocks.Block],
  deal: Deal,
  join_bucket: Join,
  num_workers: int,
  tally: Tally,
  report: Callable[[str], None],
  progress: Callable[[int], None],
) -> Iterator[Pair]:
  """The pairs of a dump, in the order of its questions' numbers.

  Args:
    report: takes the first bad record, if bad records are left out.
    progress: takes numbers of records read.

  Raises:
    BadLineError: the first bad record of a dump, unless it is left out.
  """
  told = False
  for counted in workers.map_in_order(deal, records, num_workers):
    tally.update(counted.tally)
    progress(counted.tally["records.in"])
    if counted.first_bad and not told:
      report(f"left out bad records, the first: {counted.first_bad}")
      told = True
  buckets = range(deal.num_buckets)
  for counted in workers.map_in_order(join_bucket, buckets, num_workers):
    tally.update(counted.tally)
  paths = [pairs_file(deal.folder, bucket) for bucket in buckets]
  for _, query, positives, query_id, positive_ids in spill.merged(
    paths, deal.folder
  ):
    yield Pair(query, positives, (), query_id, positive_ids)
