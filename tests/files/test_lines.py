"""Lines of files: which differences do no harm, and what stops where."""

import gzip
import json
from typing import Any

import pytest

from gtr_jax.files import json_lines, lines

GOOD = b'{"a": 1}\n'
# What is in line 2 of a file, and what the message must say of it.
BAD_LINES = {
  "cut JSON": (b'{"a": \n', "not JSON ("),
  "two objects": (GOOD.strip() + GOOD, "not JSON ("),
  "no object": (b"[1]\n", "got a JSON list where an object was due"),
  "null": (b"null\n", "got null where an object was due"),
  "blank line": (b"  \n", "a blank line"),
  "Latin-1": (b'{"a": "caf\xe9"}\n', "byte 0xe9 at column 11 is not UTF-8"),
  "UTF-8 of a surrogate": (b'{"a": "\xed\xa0\x80"}\n', "is not UTF-8"),
  "deep nesting": (b"[" * 100_000 + b"\n", "not readable as JSON"),
  "endless number": (b'{"a": ' + b"1" * 5000 + b"}\n", "not readable as JSON"),
  "refused": (b'{"a": 0}\n', "zero is no number"),
}
EACH_BAD_LINE = pytest.mark.parametrize(
  "line, reason", BAD_LINES.values(), ids=BAD_LINES.keys()
)


def parse(number, line):
  value = lines.parse_object(line)["a"]
  if value == 0:
    raise ValueError("zero is no number")
  return number, value


@pytest.mark.parametrize(
  "content",
  [
    GOOD * 2,
    (GOOD * 2).strip(),
    b"\xef\xbb\xbf" + GOOD * 2,
    (GOOD * 2).replace(b"\n", b"\r\n"),
    GOOD * 2 + b"\n \n\r\n",
    gzip.compress(GOOD * 2, mtime=0),
    gzip.compress(GOOD, mtime=0) + gzip.compress(GOOD, mtime=0),
  ],
  ids=[
    "plain",
    "no newline",
    "byte order mark",
    "CRLF",
    "blank end",
    "gzip",
    "gzip twice",
  ],
)
def test_harmless_differences(tmp_path, content):
  path = tmp_path / "file.jsonl"
  path.write_bytes(content)
  assert list(lines.parse_lines(path, parse)) == [(1, 1), (2, 1)]


@EACH_BAD_LINE
def test_a_bad_line_is_one_clear_error(tmp_path, line, reason):
  path = tmp_path / "file.jsonl"
  path.write_bytes(GOOD + line + GOOD)
  parsed = lines.parse_lines(path, parse)
  assert next(parsed) == (1, 1)
  with pytest.raises(lines.BadLineError) as error:
    next(parsed)
  message = str(error.value)
  assert message.startswith(f"{path}:2: ")
  assert reason in message
  assert "\n" not in message


@EACH_BAD_LINE
def test_a_skipped_line_is_counted_and_reported(tmp_path, line, reason):
  path = tmp_path / "file.jsonl"
  path.write_bytes(GOOD + line + GOOD + line + GOOD)
  said, taken = [], []

  def take(number, text):
    taken.append(parse(number, text)[0])

  assert lines.take_lines(path, take, "skip", said.append) == 2
  assert taken == [1, 3, 5]
  (summary,) = said
  assert f"{path}: skipped 2 lines of 5, first: line 2: " in summary
  assert reason in summary


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_a_line_that_is_too_long(tmp_path, monkeypatch, compress):
  monkeypatch.setattr(lines, "MAX_LINE_BYTES", 50)
  path = tmp_path / "file.jsonl"
  longest = b'{"a": "%s"}\n' % (b"x" * 41)
  path.write_bytes(
    compress(GOOD + longest + longest.replace(b"x", b"xyz") + GOOD)
  )
  with pytest.raises(lines.BadLineError, match=":3: a line of more than 50"):
    list(lines.parse_lines(path, parse))
  said = []
  parsed = list(lines.parse_lines(path, parse, "skip", said.append))
  assert parsed == [(1, 1), (2, "x" * 41), (4, 1)]
  assert "skipped 1 lines of 4" in said[0]


def test_nothing_is_said_of_a_good_file(tmp_path, capsys):
  path = tmp_path / "file.jsonl"
  path.write_bytes(GOOD)
  assert lines.take_lines(path, lambda *_: None, "skip") == 0
  assert capsys.readouterr() == ("", "")


def test_a_summary_goes_to_standard_error_by_default(tmp_path, capsys):
  path = tmp_path / "file.jsonl"
  path.write_bytes(GOOD + b"{\n")
  assert list(lines.parse_lines(path, parse, "skip")) == [(1, 1)]
  assert "skipped 1 lines of 2" in capsys.readouterr().err


@pytest.fixture
def zipped():
  """Lines that gzip cannot shrink to nothing."""
  numbers = (f'{{"a": {n * 7919 % 10007 + 1}}}\n' for n in range(5000))
  return gzip.compress("".join(numbers).encode())


DAMAGES = {
  "cut": lambda content: content[: len(content) // 2],
  "another check sum": lambda content: content[:-8] + bytes(8),
  "no blocks": lambda content: content[:10] + b"\xff" * 10 + content[20:],
  "no gzip": lambda content: GOOD,
}


@pytest.mark.parametrize("mode", ["error", "skip"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_broken_stream_always_stops(tmp_path, zipped, damage, mode):
  path = tmp_path / "file.jsonl.gz"
  path.write_bytes(DAMAGES[damage](zipped))
  taken, said = [], []
  with pytest.raises(lines.BadLineError, match="stream is broken") as error:
    for number, _ in lines.parse_lines(path, parse, mode, said.append):
      taken.append(number)
  assert str(error.value).startswith(f"{path}:{len(taken) + 1}: ")
  assert taken == list(range(1, len(taken) + 1)) and not said
  if damage == "cut":
    assert 0 < len(taken) < 5000


def test_a_file_that_is_not_there_names_itself(tmp_path):
  with pytest.raises(FileNotFoundError, match="absent") as error:
    list(lines.parse_lines(tmp_path / "absent", parse))
  assert error.value.filename == str(tmp_path / "absent")


def test_other_modes_are_refused():
  mode: Any = "ignore"
  with pytest.raises(ValueError, match="'error' or 'skip'"):
    lines.check_mode(mode)


def test_json_lines_are_read_as_they_were_written(tmp_path):
  records = [{"a": "日本\n🎉", "b": [1, None]}, {}]
  path = tmp_path / "new" / "file.jsonl"
  json_lines.write(path, records)
  read = lines.parse_lines(path, lambda _, line: lines.parse_object(line))
  assert list(read) == records
  assert json.loads(path.read_bytes().splitlines()[1]) == {}
  with pytest.raises(TypeError):
    json_lines.write(path, [{}, {"a": {1, 2}}])
  assert len(path.read_bytes().splitlines()) == 2, "the old one stays"


def test_a_string_without_its_end_is_told_in_plain_words():
  with pytest.raises(ValueError, match=r"string starting at column 11\)"):
    lines.parse_object('{"query": "broken')
