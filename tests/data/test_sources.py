import gzip
import json
from typing import Any

import pytest

from gtr_jax.data import sources
from gtr_jax.data.pair import Pair
from gtr_jax.files.lines import BadLineError

GOOD = b'{"query": "q", "positive": "p"}\n'

# What is in line 2 of a file, and what the message must say of it.
BAD_LINES = {
  "cut JSON": (b'{"query": "q", "posi\n', "not JSON"),
  "no object": (b'["q", "p"]\n', "JSON list"),
  "two objects": (GOOD.strip() + GOOD, "not JSON"),
  "blank line": (b"  \n", "blank line"),
  "no query": (b'{"qery": "q", "positive": "p"}\n', "no field 'query'"),
  "no positive": (b'{"query": "q"}\n', "no field 'positive'"),
  "null": (b'{"query": null, "positive": "p"}\n', "null"),
  "empty query": (b'{"query": "", "positive": "p"}\n', "empty text"),
  "white space": (b'{"query": "q", "positive": " \\n\\t"}\n', "empty text"),
  "empty list": (b'{"query": "q", "positive": []}\n', "empty list"),
  "number": (b'{"query": 3, "positive": "p"}\n', "'query' is a int"),
  "list of numbers": (
    b'{"query": "q", "positive": ["p", 3]}\n',
    "'positive[1]' is a int",
  ),
  "list of queries": (b'{"query": ["q"], "positive": "p"}\n', "a list"),
  "object": (b'{"query": "q", "positive": {"text": "p"}}\n', "an object"),
  "empty negative": (
    b'{"query": "q", "positive": "p", "negatives": ["n", ""]}\n',
    "empty text",
  ),
  "negative is positive": (
    b'{"query": "q", "positive": "p", "negative": "p"}\n',
    "the text of a positive",
  ),
  "negative has positive's id": (
    b'{"query": "q", "positive": "p", "positive_id": "7", "negative": "n",'
    b' "negative_id": 7}\n',
    "the id of a positive ('7')",
  ),
  "both names": (
    b'{"query": "q", "positive": "p", "positives": ["p"]}\n',
    "both 'positive' and 'positives'",
  ),
  "too few ids": (
    b'{"query": "q", "positive": ["p", "r"], "positive_ids": ["1"]}\n',
    "1 ids for 2 texts",
  ),
  "id of wrong type": (
    b'{"query": "q", "positive": "p", "query_id": true}\n',
    "true or false",
  ),
  "lone surrogate": (
    b'{"query": "q", "positive": "\\ud83d"}\n',
    "lone surrogate \\ud83d",
  ),
}


def write(path, content):
  path.write_bytes(content)
  return path


def test_reads_every_field(tmp_path):
  lines = [
    {
      "query": "q",
      "positives": ["p", "r"],
      "negatives": ["n"],
      "_id": 5,
      "positive_ids": ["1", 2],
      "negative_id": "3",
      "source": "ignored",
    },
    {"query": " q ", "positive": "日本", "negatives": None, "query_id": None},
  ]
  text = "\n".join(json.dumps(line) for line in lines)
  path = write(tmp_path / "pairs.jsonl", text.encode())
  assert list(sources.read_pairs([path])) == [
    Pair("q", ("p", "r"), ("n",), "5", ("1", "2"), ("3",)),
    Pair(" q ", ("日本",)),
  ]


def test_files_are_read_in_order_and_gzip_by_name(tmp_path):
  first = write(tmp_path / "b.jsonl.gz", gzip.compress(GOOD, mtime=0))
  second = write(tmp_path / "a.jsonl", GOOD.replace(b'"q"', b'"z"'))
  queries = [pair.query for pair in sources.read_pairs([first, second])]
  assert queries == ["q", "z"]


@pytest.mark.parametrize(
  "line, reason", BAD_LINES.values(), ids=BAD_LINES.keys()
)
def test_a_bad_line_is_one_clear_error(tmp_path, line, reason):
  path = write(tmp_path / "pairs.jsonl", GOOD + line + GOOD)
  pairs = sources.read_pairs([path])
  assert next(pairs).query == "q"
  with pytest.raises(BadLineError) as error:
    list(pairs)
  message = str(error.value)
  assert message.startswith(f"{path}:2: ")
  assert reason in message
  assert "\n" not in message


def test_skipped_lines_are_counted_and_reported(tmp_path):
  bad = [line for line, _ in BAD_LINES.values()]
  path = write(tmp_path / "pairs.jsonl", GOOD + b"".join(bad) + GOOD)
  said = []
  pairs = list(sources.read_pairs([path], "skip", said.append))
  assert pairs == [Pair("q", ("p",))] * 2
  (summary,) = said
  assert f"skipped {len(bad)} lines of {len(bad) + 2}, first: line 2" in summary


@pytest.mark.parametrize("mode", ["error", "skip"])
@pytest.mark.parametrize(
  "name, content, reason",
  [
    ("pairs.jsonl", b"", "no pair in the file"),
    ("pairs.jsonl", b"\n\n", "no pair in the file"),
    ("pairs.jsonl.gz", b"", "no pair in the file"),
    ("pairs.jsonl.gz", GOOD, "gzip stream is broken"),
    (
      "pairs.jsonl.gz",
      gzip.compress(GOOD, mtime=0)[:15],
      "gzip stream is broken",
    ),
    ("pairs.jsonl", "{}".encode("utf-16"), "byte 0xff at column 1"),
  ],
)
def test_a_file_without_pairs_is_an_error(
  tmp_path, mode, name, content, reason
):
  path = write(tmp_path / name, content)
  with pytest.raises(BadLineError) as error:
    list(sources.read_pairs([path], mode, lambda summary: None))
  assert reason in str(error.value)
  assert str(error.value).startswith(f"{path}:")


def test_files_are_checked_before_the_first_is_read(tmp_path):
  good = write(tmp_path / "good.jsonl", GOOD)
  with pytest.raises(BadLineError, match="no such file"):
    sources.read_pairs([good, tmp_path / "absent.jsonl"])
  with pytest.raises(BadLineError, match="is a folder"):
    sources.read_pairs([good, tmp_path])
  with pytest.raises(ValueError, match="no file"):
    sources.read_pairs([])
  with pytest.raises(ValueError, match="'error' or 'skip'"):
    mode: Any = "ignore"
    sources.read_pairs([good], mode)


def test_a_file_is_read_once(tmp_path):
  path = tmp_path / "a.jsonl"
  path.write_text('{"query": "q", "positive": "p"}\n')
  link = tmp_path / "b.jsonl"
  link.symlink_to(path)
  for twice in ([path, path], [path, link]):
    with pytest.raises(ValueError, match="is the same file as .*a.jsonl"):
      sources.read_pairs(twice)
