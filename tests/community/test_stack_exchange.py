"""Posts.xml to pairs: known questions, whatever the files and processes."""

import bz2
import gzip
import json
import pathlib
import random
from typing import Any

import pytest

from benchmarks import dumps as made_up
from gtr_jax.community import (
  choosing,
  dumps,
  filters,
  html_text,
  joining,
  spill,
  stack_exchange,
)
from gtr_jax.community.post import Post
from gtr_jax.community.tally import Tally
from gtr_jax.files.lines import BadLineError

pytest.importorskip("selectolax", reason="selectolax is not installed: [data]")

ANYTHING = filters.Filters(filters.Lengths(1), filters.Lengths(1))


def question(number, score, title, body="q", **fields):
  row = {"Id": number, "PostTypeId": 1, "Score": score, "Title": title}
  return {**row, "Body": body, **fields}


def answer(number, to, score, body):
  row = {"Id": number, "PostTypeId": 2, "ParentId": to, "Score": score}
  return {**row, "Body": body}


DUMP = [
  question(1, 5, "First  title", "<p>Q"),
  answer(2, 1, 9, "<p>best</p>"),
  answer(3, 1, 2, "<p>taken</p>"),
  answer(4, 1, 9, "<b>as</b> good"),
  answer(5, 1, -1, "bad"),
  question(6, 0, "Closed", ClosedDate="2020"),
  answer(7, 6, 1, "to a closed"),
  question(8, -2, "Unloved"),
  answer(9, 8, 1, "to an unloved"),
  question(10, 1, "Unanswered"),
  answer(11, 99, 1, "to nothing"),
  {"Id": 12, "PostTypeId": 5, "Score": 1, "Body": "a wiki"},
  answer(13, 14, 0, "before"),
  question(14, 0, "A & <b>", "<p>x</p>", AcceptedAnswerId=15),
  answer(15, 14, 0, "&lt;yes&gt;"),
]


def write(folder, rows, name="Posts.xml"):
  path = pathlib.Path(folder) / name
  path.parent.mkdir(exist_ok=True, parents=True)
  lines = [row if isinstance(row, str) else made_up.row(row) for row in rows]
  path.write_text("".join(made_up.posts_xml(lines)), encoding="utf-8")
  return path


def read(
  path,
  *,
  workers=1,
  on_bad_line: Any = "error",
  near_duplicates=0.0,
  report=lambda _: None,
  **rules,
):
  tally = Tally()
  options = dumps.Options(
    format="stackexchange",
    rules=choosing.Rules(
      **{
        "site": "s",
        "to_text": html_text.HtmlToText(),
        "filters": ANYTHING,
        **rules,
      }
    ),
    near_duplicates=near_duplicates,
    temporary=path.parent,
    num_workers=workers,
    on_bad_line=on_bad_line,
  )
  return list(dumps.pairs("s", [path], options, tally, report)), tally


def answers(pairs):
  return {pair.query_id: pair.positive_ids for pair in pairs}


def test_the_accepted_answer_then_the_score_then_the_older(tmp_path):
  pairs, _ = read(write(tmp_path, DUMP), num_answers=9)
  assert answers(pairs) == {
    "s/1": ("s/2", "s/4", "s/3"),
    "s/14": ("s/15", "s/13"),
  }
  assert pairs[0].query == "First title"
  assert pairs[0].positives == ("best", "as good", "taken")
  assert pairs[1].query == "A & <b>"
  assert pairs[1].positives == ("<yes>", "before")
  DUMP[0]["AcceptedAnswerId"] = 3
  try:
    pairs, _ = read(write(tmp_path, DUMP))
  finally:
    del DUMP[0]["AcceptedAnswerId"]
  assert answers(pairs) == {"s/1": ("s/3",), "s/14": ("s/15",)}


def test_each_flag(tmp_path):
  path = write(tmp_path, DUMP)
  found = lambda **rules: answers(read(path, **rules)[0])
  assert found(only_accepted=True) == {"s/14": ("s/15",)}
  assert found(min_answer_score=5) == {"s/1": ("s/2",)}
  assert found(min_question_score=1) == {"s/1": ("s/2",)}
  assert set(found(min_question_score=None)) == {"s/1", "s/8", "s/14"}
  assert found(min_answer_score=None, num_answers=9)["s/1"] == (
    *("s/2", "s/4", "s/3"),
    "s/5",
  )
  assert set(found(closed=True)) == {"s/1", "s/6", "s/14"}
  assert read(path, body=True)[0][0].query == "First title Q"


def test_everything_is_counted(tmp_path):
  pairs, tally = read(write(tmp_path, DUMP))
  assert tally == {
    "records.in": 15,
    "records.left_out.other_kind": 1,
    "questions.in": 5,
    "questions.left_out.closed": 1,
    "questions.left_out.low_score": 1,
    "questions.left_out.no_answer": 1,
    "answers.in": 9,
    "answers.left_out.low_score": 1,
    "answers.left_out.not_the_best": 3,
    "answers.left_out.question_left_out": 2,
    "answers.left_out.without_question": 1,
  }
  assert len(pairs) == 2


def total(tally, kind):
  prefix = f"{kind}.left_out."
  return sum(n for name, n in tally.items() if name.startswith(prefix))


def test_nothing_is_lost_in_a_large_dump(tmp_path, small_blocks):
  rng = random.Random(0)
  rows = list(made_up.until(made_up.rows(), 400_000))
  path = write(tmp_path, rows)
  pairs, tally = read(path, num_answers=2, filters=filters.Filters())
  assert tally["records.in"] == len(rows)
  num_posts = tally["questions.in"] + tally["answers.in"]
  assert num_posts + total(tally, "records") == len(rows)
  assert total(tally, "questions") + len(pairs) == tally["questions.in"] > 80
  num_answers = sum(len(pair.positives) for pair in pairs)
  assert total(tally, "answers") + num_answers == tally["answers.in"] > 100
  numbers = [int(str(pair.query_id)[2:]) for pair in pairs]
  assert numbers == sorted(numbers)
  # The order of the rows says nothing.
  rng.shuffle(rows)
  assert read(
    write(tmp_path, rows), num_answers=2, filters=filters.Filters()
  ) == (pairs, tally)


def test_neither_buckets_nor_processes_change_the_result(tmp_path, monkeypatch):
  path = write(tmp_path, made_up.until(made_up.rows(), 500_000))
  expected = read(path)
  assert len(expected[0]) > 40
  assert read(path, workers=2) == expected
  monkeypatch.setattr(joining, "num_buckets", lambda num_bytes: 37)
  monkeypatch.setattr(spill, "_FAN_IN", 3)
  monkeypatch.setattr(spill, "_CHUNK_ROWS", 2)
  assert read(path) == expected
  assert [file.name for file in tmp_path.iterdir()] == ["Posts.xml"]


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress])
def test_compressed_dumps(tmp_path, compress):
  path = write(tmp_path, DUMP)
  expected = read(path)
  packed = (
    tmp_path / f"Posts.xml.{'gz' if compress is gzip.compress else 'bz2'}"
  )
  packed.write_bytes(compress(path.read_bytes()))
  assert read(packed) == expected


def test_a_dump_in_an_archive(tmp_path):
  py7zr = pytest.importorskip("py7zr", reason="py7zr is not installed: [data]")
  path = write(tmp_path, DUMP)
  packed = tmp_path / "a.example.com.7z"
  with py7zr.SevenZipFile(packed, "w") as archive:
    archive.writestr(b"<users></users>", "Users.xml")
    archive.write(path, "Posts.xml")
  assert read(packed) == read(path)


def test_a_question_without_a_title_is_left_out(tmp_path):
  row = {"Id": 77, "PostTypeId": 1, "Score": 1, "Body": "&lt;p&gt;What is it?"}
  pairs, tally = read(write(tmp_path, [*DUMP, row]))
  good, before = read(write(tmp_path, DUMP))
  assert pairs == good
  reason = "questions.left_out.empty"
  assert tally[reason] == before[reason] + 1


BAD_ROWS = {
  "no id": ({"PostTypeId": 1, "Score": 1, "Title": "t"}, "a row without Id"),
  "no kind": ({"Id": 1, "Text": "a comment"}, "a row without PostTypeId"),
  "id": ({**DUMP[0], "Id": "1x"}, "Id is '1x', a whole number was due"),
  "huge": ({**DUMP[0], "Id": "9" * 5000}, "a whole number was due"),
  "digits": ({**DUMP[0], "Id": "٣"}, "a whole number was due"),
  "no parent": ({"Id": 1, "PostTypeId": 2, "Score": 1, "Body": ""}, "ParentId"),
  "broken": ('<row Id="1" & />\n', "not XML (not well-formed"),
  "element": (
    '<row Id="20" PostTypeId="5"><b/></row>\n',
    "the element <b> came",
  ),
  "entity": ('<row Id="&a;" />\n', "not XML (undefined entity"),
}


@pytest.mark.parametrize("row, reason", BAD_ROWS.values(), ids=BAD_ROWS)
def test_a_bad_row_is_an_error_with_its_line_or_a_counted_skip(
  tmp_path, row, reason
):
  path = write(tmp_path, [*DUMP[:2], row, *DUMP[2:5]])
  with pytest.raises(BadLineError) as error:
    read(path)
  assert str(error.value).startswith(f"{path}:5: ")
  assert reason in str(error.value)
  told = []
  pairs, tally = read(path, on_bad_line="skip", report=told.append)
  good, _ = read(write(tmp_path, DUMP[:5]))
  assert pairs == good
  assert tally["records.left_out.bad"] == 1 and tally["records.in"] == 6
  assert len(told) == 1 and f"{path}:5: " in told[0]


def test_an_id_that_comes_twice(tmp_path):
  again = {**DUMP[1], "Body": "another text"}
  path = write(tmp_path, [*DUMP, again])
  with pytest.raises(
    BadLineError, match=r":18: the id 2 came before, at .*Posts.xml:4: "
  ):
    read(path)
  pairs, tally = read(path, on_bad_line="skip")
  assert tally["answers.left_out.duplicate_id"] == 1
  assert pairs == read(write(tmp_path, [again, *DUMP]), on_bad_line="skip")[0]


def test_ids_are_compared_within_a_question(tmp_path, monkeypatch):
  """Else it would depend on the number of buckets what is seen."""
  rows = [
    question(1, 0, "one"),
    question(2, 0, "two"),
    answer(3, 1, 0, "first"),
    answer(3, 2, 0, "second"),
    answer(1, 1, 0, "named as the question"),
  ]
  path = write(tmp_path, rows)
  for buckets in (1, 2):
    monkeypatch.setattr(joining, "num_buckets", lambda _, n=buckets: n)
    pairs, _ = read(path, num_answers=2)
    assert answers(pairs) == {"s/1": ("s/1", "s/3"), "s/2": ("s/3",)}


def test_errors_of_other_processes_are_the_same(tmp_path, small_blocks):
  rows = list(made_up.until(made_up.rows(), 20_000))
  path = write(tmp_path, [*rows, "<row &/>\n", *rows, "<row />\n"])
  with pytest.raises(BadLineError) as error:
    read(path, workers=2)
  assert str(error.value).startswith(f"{path}:{len(rows) + 3}: not XML")
  assert [file.name for file in tmp_path.iterdir()] == ["Posts.xml"]


def test_near_duplicates_go(tmp_path):
  pytest.importorskip("rensa", reason="rensa is not installed: [data]")
  text = "a long answer about many things that were asked for a long time "
  rows = []
  for number in range(1, 9, 2):
    body = f"<p>{text * 3} {number // 5}</p>"
    title = "How does one ask about many things?"
    rows += [
      {**DUMP[0], "Id": number, "Title": title},
      {**DUMP[1], "Id": number + 1, "ParentId": number, "Body": body},
    ]
  pairs, tally = read(write(tmp_path, rows), near_duplicates=0.8)
  assert answers(pairs) == {"s/1": ("s/2",)}
  assert tally["questions.left_out.near_duplicate"] == 3
  assert tally["answers.left_out.near_duplicate"] == 3


@pytest.mark.parametrize(
  "path, site",
  [
    ("math.stackexchange.com/Posts.xml", "math.stackexchange.com"),
    ("a.com/posts.xml.bz2", "a.com"),
    ("stackoverflow.com-Posts.7z", "stackoverflow.com"),
    ("dumps/ai.stackexchange.com.7z", "ai.stackexchange.com"),
    ("ai.xml.gz", "ai"),
  ],
)
def test_the_name_of_a_site(path, site):
  assert stack_exchange.site_of(pathlib.Path(path)) == site


def test_folders_are_searched(tmp_path):
  one = write(tmp_path / "one.com", DUMP)
  write(tmp_path / "one.com", DUMP, "Users.xml")
  two = tmp_path / "two.com-Posts.7z"
  two.write_bytes(b"7z")
  (tmp_path / "two.com-Votes.7z").write_bytes(b"")
  assert dumps.find("stackexchange", [str(tmp_path)], None) == {
    "one.com": [one],
    "two.com": [two],
  }
  with pytest.raises(ValueError, match="no such file"):
    dumps.find("stackexchange", [str(tmp_path / "absent")], None)
  with pytest.raises(ValueError, match="two dumps of one site, a"):
    dumps.find("stackexchange", [str(tmp_path)], "a")
  write(tmp_path / "one com", DUMP)
  write(tmp_path / "one_com", DUMP)
  with pytest.raises(ValueError, match="would have files of one name"):
    dumps.find("stackexchange", [str(tmp_path)], None)
  (tmp_path / "empty").mkdir()
  with pytest.raises(ValueError, match="no Posts.xml or .7z in the folder"):
    dumps.find("stackexchange", [str(tmp_path / "empty")], None)


def test_rows_become_posts():
  row = {key: str(value) for key, value in DUMP[13].items()}
  assert stack_exchange.post(row, "f:7") == Post(
    14, None, "14", "A & <b>", "<p>x</p>", 0, 15, "", "f:7"
  )
  deleted = stack_exchange.post({**row, "DeletionDate": "2020"}, "f:7")
  assert isinstance(deleted, Post) and deleted.left_out == "deleted"


def test_json_can_hold_what_comes_out(tmp_path):
  row = {**DUMP[0], "Title": "日本 🎉 &#x1F600; \u200b"}
  pairs, _ = read(write(tmp_path, [row, *DUMP[1:5]]))
  assert json.loads(json.dumps(pairs[0].query)) == "日本 🎉 &#x1F600; \u200b"
