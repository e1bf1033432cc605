"""The same transforms as an Apache Beam pipeline, for dumps of any size.

Lines of dumps → posts → grouped by question → pairs → without near-duplicates →
TFRecord or ArrayRecord files.  The pairs are those of `dumps.pairs`; the runner
orders them in the files.  Real dumps have a record a line, so a runner can
split their files; one that has not is refused.
"""

import functools
import json
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gtr_jax.community import blocks, dumps, joining, output
from gtr_jax.community import tally as tallies
from gtr_jax.community.choosing import Rules
from gtr_jax.community.post import Post
from gtr_jax.community.tally import Tally
from gtr_jax.data import near_duplicates, record_files
from gtr_jax.data.pair import Pair
from gtr_jax.files import optional
from gtr_jax.files.lines import BadLineError, OnBadLine

# Suffix of the files: module and name of what writes them.
_WRITERS = {
  "tfrecord": ("apache_beam.io.tfrecordio", "WriteToTFRecord"),
  "array_record": ("array_record.beam.arrayrecordio", "WriteToArrayRecord"),
}
_EXTRA = "beam"
_SPACE = "gtr"
_FRAME = (b"<?xml", b"<posts", b"</posts>")
_MARK = b"\xef\xbb\xbf"
_SHOWN_BYTES = 80


@dataclass(frozen=True)
class Job:
  """What a pipeline makes.

  Attributes:
    rules: of each site.
    kind: "tfrecord" or "array_record".
    runner_options: as Beam's command line has them.
  """

  format: str
  sites: dumps.Sites
  rules: Mapping[str, Rules]
  near_duplicates: float
  on_bad_line: OnBadLine
  folder: pathlib.Path
  kind: str
  num_shards: int
  runner_options: Sequence[str] = ()


def run(job: Job) -> dict[str, Tally]:
  """Runs the pipeline; what became of all that was read, by site.

  Raises:
    ValueError: a bad line, unless it is skipped; a file that Beam cannot read.
  """
  _refuse_archives(job)
  beam = _beam()
  options = optional.load("apache_beam.options.pipeline_options", _EXTRA)
  pipeline = beam.Pipeline(
    options=options.PipelineOptions(list(job.runner_options))
  )
  for site, files in job.sites.items():
    records = _pairs(pipeline, site, files, job) | (
      f"encode {site}" >> beam.FlatMap(_Encode(site))
    )
    _ = records | f"write {site}" >> _writer(job, site)
  try:
    result = pipeline.run()
    result.wait_until_finish()
  except Exception as error:
    raise _users(error) from None
  return _tallies(result, job.sites)


def _beam() -> Any:
  return optional.load("apache_beam", _EXTRA)


def _writer(job: Job, site: str) -> Any:
  module, name = _WRITERS[job.kind]
  return getattr(optional.load(module, _EXTRA), name)(
    str(job.folder / output.file_name(site)),
    file_name_suffix=f".{job.kind}",
    num_shards=job.num_shards,
    coder=_beam().coders.BytesCoder(),
  )


def _pairs(
  pipeline: Any, site: str, files: Sequence[pathlib.Path], job: Job
) -> Any:
  """(number of the question, pair) of a site."""
  beam = _beam()
  read = lambda file: beam.io.ReadFromText(
    str(file), coder=beam.coders.BytesCoder()
  )
  parse = lambda file: _Parse(site, str(file), job.format, job.on_bad_line)
  choose = _Choose(site, job.rules[site], job.on_bad_line)
  posts = [
    pipeline
    | f"read {file}" >> read(file)
    | f"parse {file}" >> beam.FlatMap(parse(file))
    for file in files
  ]
  pairs = (
    posts
    | f"posts {site}" >> beam.Flatten()
    | f"by question {site}" >> beam.GroupByKey()
    | f"choose {site}" >> beam.FlatMap(choose)
  )
  if not job.near_duplicates:
    return pairs
  near = (
    pairs
    | f"sketch {site}" >> beam.FlatMap(_Sketch(job.near_duplicates))
    | f"by bucket {site}" >> beam.GroupByKey()
    | f"compare {site}" >> beam.FlatMap(_Compare(job.near_duplicates))
  )
  return (
    {"pairs": pairs, "near": near}
    | f"by number {site}" >> beam.CoGroupByKey()
    | f"distinct {site}" >> beam.FlatMap(_Distinct(site))
  )


@functools.cache
def _sketch(threshold: float) -> near_duplicates.Sketch:
  """One a process."""
  return near_duplicates.Sketch(threshold)


@dataclass(frozen=True)
class _Parse:
  """A line to (number of the question, post)."""

  site: str
  path: str
  format: str
  on_bad_line: OnBadLine

  def __call__(self, line: bytes) -> Iterator[tuple[int, tuple]]:
    line = line.removeprefix(_MARK).strip()
    if not line or self.format == "stackexchange" and line.startswith(_FRAME):
      return
    count = _Counter(self.site)
    count("records.in")
    try:
      posts = list(self._posts(line))
    except BadLineError:
      if self.on_bad_line == "error":
        raise
      count("records.left_out.bad")
      return
    for post in posts:
      if isinstance(post, str):
        count(f"records.left_out.{post}")
        continue
      count("answers.in" if post.question is not None else "questions.in")
      key = post.number if post.question is None else post.question
      yield key, tuple(post)

  def _posts(self, line: bytes) -> Iterable[Post | str]:
    if len(line) > blocks.MAX_RECORD_BYTES:
      block = blocks.Block(self.path, 1, b"", too_long=True)
    else:
      block = blocks.Block(self.path, 1, line)
    try:
      yield from dumps.JOINED[self.format].dump.parse(block)
    except BadLineError as error:
      # A runner that splits files knows no line numbers.
      reason = str(error).removeprefix(f"{self.path}:1: ")
      shown = line[:_SHOWN_BYTES].decode(errors="replace")
      raise BadLineError(
        f"{self.path}: the line that begins {shown!r}: {reason}"
      ) from None


@dataclass(frozen=True)
class _Choose:
  """A question with its answers to (its number, pair)."""

  site: str
  rules: Rules
  on_bad_line: OnBadLine

  def __call__(
    self, group: tuple[int, Iterable[tuple]]
  ) -> Iterator[tuple[int, Pair]]:
    tally = Tally()
    posts = (Post(*post) for post in group[1])
    yield from joining.paired(posts, self.rules, self.on_bad_line, tally)
    _Counter(self.site).update(tally)


@dataclass(frozen=True)
class _Sketch:
  """A pair to (bucket, (its number, signature)), once a bucket."""

  threshold: float

  def __call__(
    self, numbered: tuple[int, Pair]
  ) -> Iterator[tuple[int, tuple[int, bytes]]]:
    number, pair = numbered
    (signature,), (keys,) = _sketch(self.threshold)([output.compared(pair)])
    for key in keys.tolist():
      # Beam's integers are signed.
      yield key - (1 << 63), (number, signature.tobytes())


@dataclass(frozen=True)
class _Compare:
  """A bucket to the numbers in it that nearly equal its first."""

  threshold: float

  def __call__(
    self, group: tuple[int, Iterable[tuple[int, bytes]]]
  ) -> Iterator[tuple[int, bool]]:
    first, signature = min(group[1])
    one = np.frombuffer(signature, np.uint8)
    for number, other in group[1]:
      if number != first and _sketch(self.threshold).similar(
        one, np.frombuffer(other, np.uint8)
      ):
        yield number, True


@dataclass(frozen=True)
class _Distinct:
  """A pair, unless it nearly equals another."""

  site: str

  def __call__(
    self, group: tuple[int, Mapping[str, Iterable[Any]]]
  ) -> Iterator[tuple[int, Pair]]:
    number, found = group
    is_near = any(found["near"])
    for pair in found["pairs"]:
      if not is_near:
        yield number, pair
        continue
      tally = Tally()
      output.count_near_duplicate(tally, pair)
      _Counter(self.site).update(tally)


@dataclass(frozen=True)
class _Encode:
  """A pair to a record, and its lengths into the counts."""

  site: str

  def __call__(self, numbered: tuple[int, Pair]) -> Iterator[bytes]:
    _, pair = numbered
    tally = Tally()
    tallies.count_pair(tally, pair.query, pair.positives)
    _Counter(self.site).update(tally)
    yield record_files.encode(pair)


@dataclass(frozen=True)
class _Counter:
  """Counts of a site as Beam's metrics, which it sums over machines."""

  site: str

  def __call__(self, name: str, count: int = 1) -> None:
    key = json.dumps([self.site, name])
    _beam().metrics.Metrics.counter(_SPACE, key).inc(count)

  def update(self, tally: Mapping[str, int]) -> None:
    for name, count in tally.items():
      self(name, count)


def _tallies(result: Any, sites: Iterable[str]) -> dict[str, Tally]:
  found = {site: Tally() for site in sites}
  wanted = _beam().metrics.MetricsFilter().with_namespace(_SPACE)
  for counter in result.metrics().query(wanted)["counters"]:
    site, name = json.loads(counter.key.metric.name)
    found[site][name] += counter.result
  return found


def _refuse_archives(job: Job) -> None:
  for files in job.sites.values():
    for file in files:
      if file.suffix in (".7z", ".xz"):
        raise ValueError(
          f"{file}: Beam reads no {file.suffix} files: unpack it, or run"
          " without --beam"
        )


def _users(error: BaseException) -> Exception:
  """The user's mistake inside what a runner made of it, or the error."""
  for text in str(error).splitlines():
    _, found, message = text.partition("BadLineError: ")
    if found:
      return BadLineError(message.partition(" [while running")[0])
  return error if isinstance(error, Exception) else RuntimeError(str(error))
