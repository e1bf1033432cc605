"""The pipeline of Apache Beam gives the pairs and counts of the other path."""

import dataclasses
import re

import pytest

from benchmarks import dumps as made_up
from gtr_jax.community import (
  beam_pipeline,
  choosing,
  dumps,
  filters,
  html_text,
  reddit,
)
from gtr_jax.community.tally import Tally
from gtr_jax.data import sources
from gtr_jax.files.lines import BadLineError

pytest.importorskip(
  "apache_beam", reason="apache-beam is not installed: [beam]; a large library"
)
for library in ("selectolax", "rensa"):
  pytest.importorskip(library, reason=f"{library} is not installed: [data]")


@pytest.fixture
def posts_xml(tmp_path):
  path = tmp_path / "a.com" / "Posts.xml"
  path.parent.mkdir()
  rows = list(made_up.until(made_up.rows(), 150_000))
  # Questions that come again with other ids, and their answers.
  later = lambda match: f'{match[1]}="{int(match[2]) + 5000}"'
  again = [
    re.sub(r'\b(Id|ParentId|AcceptedAnswerId)="(\d+)"', later, row)
    for row in made_up.until(made_up.rows(), 60_000)
  ]
  content = "".join(made_up.posts_xml(rows + again))
  path.write_text(content, encoding="utf-8")
  return path


def reddit_files(tmp_path):
  paths = [tmp_path / "RS.jsonl", tmp_path / "RC.jsonl"]
  for path, lines in zip(paths, made_up.reddit(60), strict=True):
    path.write_text("\n".join(lines) + "\n")
  return paths


def job(tmp_path, format, files, to_text, **changes):
  rules = choosing.Rules("s", to_text, filters.Filters(), num_answers=2)
  made = beam_pipeline.Job(
    format=format,
    sites={"s": files},
    rules={"s": rules},
    near_duplicates=0.8,
    on_bad_line="error",
    folder=tmp_path / "out",
    kind="tfrecord",
    num_shards=3,
  )
  made.folder.mkdir(exist_ok=True)
  return dataclasses.replace(made, **changes)


def expected(tmp_path, made):
  """Pairs and counts without Beam."""
  tally = Tally()
  options = dumps.Options(
    format=made.format,
    rules=made.rules["s"],
    near_duplicates=made.near_duplicates,
    temporary=tmp_path,
    num_workers=1,
    on_bad_line=made.on_bad_line,
  )
  return list(
    dumps.pairs("s", made.sites["s"], options, tally, lambda _: None)
  ), tally


def without_output(tally):
  """Counts that are made where pairs are written, left out."""
  outputs = ("pairs.", "answers.out", "words.")
  return {k: n for k, n in tally.items() if not k.startswith(outputs)}


def same(made, tmp_path):
  counts = beam_pipeline.run(made)["s"]
  pairs, tally = expected(tmp_path, made)
  files = sorted(made.folder.iterdir())
  assert [file.name for file in files] == [
    f"s-0000{n}-of-00003.{made.kind}" for n in range(3)
  ]
  found = list(sources.read_pairs(files))
  assert sorted(found, key=str) == sorted(pairs, key=str)
  assert without_output(counts) == tally
  assert counts["pairs.out"] == len(pairs) > 10
  return counts


@pytest.mark.parametrize("kind", ["tfrecord", "array_record"])
def test_stack_exchange(tmp_path, posts_xml, kind):
  to_text = html_text.HtmlToText()
  made = job(tmp_path, "stackexchange", [posts_xml], to_text, kind=kind)
  counts = same(made, tmp_path)
  assert counts["questions.left_out.near_duplicate"] > 3


def test_reddit(tmp_path):
  files = reddit_files(tmp_path)
  same(job(tmp_path, "reddit", files, reddit.MarkdownToText()), tmp_path)


def test_bad_rows(tmp_path, posts_xml):
  content = posts_xml.read_text("utf-8")
  posts_xml.write_text(content.replace("<row Id=", "<row &Id=", 2), "utf-8")
  to_text = html_text.HtmlToText()
  made = job(tmp_path, "stackexchange", [posts_xml], to_text)
  with pytest.raises(BadLineError) as error:
    beam_pipeline.run(made)
  assert f"{posts_xml}: the line that begins '<row &Id=" in str(error.value)
  assert "\n" not in str(error.value)
  (tmp_path / "again").mkdir()
  made = dataclasses.replace(
    made, on_bad_line="skip", folder=tmp_path / "again"
  )
  counts = same(made, tmp_path)
  assert counts["records.left_out.bad"] == 2


def test_what_beam_cannot_read_is_refused(tmp_path):
  archive = tmp_path / "a.7z"
  made = job(tmp_path, "stackexchange", [archive], html_text.HtmlToText())
  with pytest.raises(ValueError, match="Beam reads no .7z files: unpack it"):
    beam_pipeline.run(made)
