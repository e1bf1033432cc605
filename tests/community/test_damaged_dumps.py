"""Dumps that are damaged at random: pairs, or one clear line; never else."""

import bz2
import gzip
import lzma
import pathlib
import random

import pytest

from benchmarks import dumps as made_up
from gtr_jax.community import choosing, dumps, fields, filters
from gtr_jax.community.tally import Tally

for library in ("selectolax", "rensa", "py7zr", "backports.zstd"):
  pytest.importorskip(library, reason=f"{library} is not installed: [data]")

NUM_DAMAGES = 40
PAGE = (
  "<html><body>"
  + "".join(
    f"<dl><dt>What is {n}?</dt><dd>It is {n}.</dd></dl>" for n in range(9)
  )
  + '<script type="application/ld+json">{"@type": "Question", "name": "q",'
  ' "acceptedAnswer": {"text": "<p>a</p>"}}</script></body></html>'
)
RECORDS = (
  '["q", "a"]\n{"title": "t", "answer": ["a", "b"]}\n{"set": ["1", "2"]}\n'
)


def posts_xml():
  return "".join(made_up.posts_xml(made_up.until(made_up.rows(), 15_000)))


def reddit():
  return "\n".join(line for lines in made_up.reddit(12) for line in lines)


CONTENT = {
  "stackexchange": (posts_xml, "Posts.xml"),
  "reddit": (reddit, "posts.jsonl"),
  "faq": (lambda: PAGE, "page.html"),
  "fields": (lambda: RECORDS * 9, "records.jsonl"),
}


def seven_zip(content):
  import io

  import py7zr

  packed = io.BytesIO()
  with py7zr.SevenZipFile(packed, "w") as archive:
    archive.writestr(content, "Posts.xml")
  return packed.getvalue()


def zst(content):
  from backports import zstd

  return zstd.compress(content)


PACK = {
  "": bytes,
  ".gz": gzip.compress,
  ".bz2": bz2.compress,
  ".xz": lzma.compress,
  ".zst": zst,
  ".7z": seven_zip,
}
CASES = [
  *((format, "") for format in CONTENT),
  *(("stackexchange", suffix) for suffix in PACK if suffix),
]


def damaged(rng, content):
  content = bytearray(content)
  kind = rng.randrange(5)
  at = rng.randrange(len(content))
  if kind == 0:
    return bytes(content[:at])
  if kind == 1:  # Some bytes are others.
    for _ in range(rng.randint(1, 9)):
      content[rng.randrange(len(content))] = rng.randrange(256)
  elif kind == 2:  # A piece is lost.
    del content[at : at + rng.randint(1, 400)]
  elif kind == 3:  # A piece comes twice.
    content[at:at] = content[at : at + rng.randint(1, 400)]
  else:  # Something strange comes in.
    strange = [
      b"\0",
      b"\xff\xfe",
      b"<row ",
      b"]]>",
      b"&x;",
      b'"',
      b"\n\n",
      b"<",
    ]
    content[at:at] = rng.choice(strange) * rng.randint(1, 3)
  return bytes(content)


def read(path, format, on_bad_line):
  options = dumps.Options(
    format=format,
    rules=choosing.Rules(
      "s",
      dumps.to_text(format, True),
      filters.Filters(filters.Lengths(1), filters.Lengths(1)),
    ),
    near_duplicates=0.8,
    temporary=path.parent,
    num_workers=1,
    on_bad_line=on_bad_line,
    names=fields.Names(),
  )
  tally = Tally()
  pairs = list(dumps.pairs("s", [path], options, tally, lambda _: None))
  return pairs, tally


def left_out(tally, kind):
  prefix = f"{kind}.left_out."
  return sum(n for name, n in tally.items() if name.startswith(prefix))


def check(path: pathlib.Path, format, on_bad_line):
  """Whether pairs came out."""
  try:
    pairs, tally = read(path, format, on_bad_line)
  except ValueError as error:
    assert str(path) in str(error) and "\n" not in str(error)
    return False
  assert len(pairs) + left_out(tally, "questions") == tally["questions.in"]
  num_answers = sum(len(pair.positives) for pair in pairs)
  assert num_answers + left_out(tally, "answers") == tally["answers.in"]
  for pair in pairs:
    "\n".join([pair.query, *pair.positives]).encode()
  return True


@pytest.mark.parametrize("format, suffix", CASES)
def test_pairs_or_one_line(tmp_path, format, suffix):
  make, name = CONTENT[format]
  content = PACK[suffix](make().encode())
  path = tmp_path / f"{name}{suffix}"
  path.write_bytes(content)
  assert check(path, format, "error")
  rng = random.Random(f"{format}{suffix}")
  refused = 0
  for _ in range(NUM_DAMAGES):
    path.write_bytes(damaged(rng, content))
    refused += not check(path, format, "error")
    check(path, format, "skip")
  assert refused > 0
  assert [file.name for file in tmp_path.iterdir()] == [path.name]
