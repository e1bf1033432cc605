"""Submissions and comments to pairs."""

import json
from typing import Any

import pytest

from benchmarks import dumps as made_up
from gtr_jax.community import blocks, choosing, dumps, filters, reddit
from gtr_jax.community.tally import Tally
from gtr_jax.files.lines import BadLineError

ANYTHING = filters.Filters(filters.Lengths(1), filters.Lengths(1))


def submission(name, title, body="", score: Any = 1, **more):
  fields = {"id": name, "title": title, "selftext": body, "score": score}
  return {**fields, "author": "somebody", **more}


def comment(name, parent, body, score=1, **more):
  fields = {"id": name, "parent_id": parent, "body": body, "score": score}
  return {**fields, "link_id": "t3_a", "author": "someone", **more}


SUBMISSIONS = [
  submission("a", "Why &amp; how?", "because &gt; x", stickied=False),
  submission("b", "Gone", "[removed]"),
  submission("c", "Weekly", author="AutoModerator"),
  submission("zz", "Unanswered"),
]
COMMENTS = [
  comment("k1", "t3_a", "a low one", 2),
  comment("k2", "t3_a", "the &lt;best&gt; one\u200b", 9),
  comment("k3", "t1_k2", "on a comment", 20),
  comment("k4", "t3_a", "[deleted]", 30),
  comment("k5", "t3_a", "I am a bot", 30, author="help-bot"),
  comment("k6", "t3_a", "read the rules", 30, distinguished="moderator"),
  comment("k7", "t3_b", "to what is gone"),
  comment("k8", "t3_q", "to nothing"),
]


def read(tmp_path, *files, on_bad_line: Any = "error", workers=1, **rules):
  paths = []
  for number, records in enumerate(files):
    path = tmp_path / f"{number}.jsonl"
    text = "\n".join(
      record if isinstance(record, str) else json.dumps(record)
      for record in records
    )
    path.write_text(text + "\n", encoding="utf-8")
    paths.append(path)
  tally = Tally()
  options = dumps.Options(
    format="reddit",
    rules=choosing.Rules(
      "r", reddit.MarkdownToText(), **{"filters": ANYTHING, **rules}
    ),
    near_duplicates=0,
    temporary=tmp_path,
    num_workers=workers,
    on_bad_line=on_bad_line,
  )
  return list(dumps.pairs("r", paths, options, tally, lambda _: None)), tally


def test_the_best_comment_right_under_a_submission(tmp_path):
  (pair,), tally = read(tmp_path, SUBMISSIONS, COMMENTS)
  assert pair.query == "Why & how?"
  assert pair.positives == ("the <best> one",)
  assert (pair.query_id, pair.positive_ids) == ("r/t3_a", ("r/t1_k2",))
  assert tally == {
    "records.in": 12,
    "records.left_out.nested_reply": 1,
    "questions.in": 4,
    "questions.left_out.removed": 1,
    "questions.left_out.bot": 1,
    "questions.left_out.no_answer": 1,
    "answers.in": 7,
    "answers.left_out.not_the_best": 1,
    "answers.left_out.deleted": 1,
    "answers.left_out.bot": 1,
    "answers.left_out.moderator": 1,
    "answers.left_out.question_left_out": 1,
    "answers.left_out.without_question": 1,
  }


def test_the_order_of_files_and_lines_changes_nothing(tmp_path):
  expected = read(tmp_path, SUBMISSIONS, COMMENTS)
  assert read(tmp_path, COMMENTS[::-1] + SUBMISSIONS[::-1]) == expected
  assert read(tmp_path, COMMENTS, SUBMISSIONS, workers=2) == expected


def test_the_body_joins_the_query(tmp_path):
  (pair,), _ = read(tmp_path, SUBMISSIONS, COMMENTS, body=True)
  assert pair.query == "Why & how? because > x"


def test_a_made_up_month(tmp_path, small_blocks):
  submissions, comments = made_up.reddit(60)
  pairs, tally = read(tmp_path, submissions, comments)
  assert tally["records.in"] == len(submissions) + len(comments)
  lost = sum(
    count
    for name, count in tally.items()
    if name.startswith("questions.left_out.")
  )
  assert len(pairs) + lost == tally["questions.in"] == 60
  assert len(pairs) > 20


BAD = {
  "cut": ('{"id": "d", "title": "x', "not JSON ("),
  "list": ("[1]", "got a JSON list where an object was due"),
  "other": ('{"id": "d", "name": "x"}', "neither title nor parent_id"),
  "no body": (
    '{"id": "d", "parent_id": "t3_a", "score": 1}',
    "no field 'body'",
  ),
  "id": (json.dumps(submission("A!", "x")), "id is 'A!', digits and small"),
  "score": (json.dumps(submission("d", "x", score="3")), "'score' is '3'"),
  "surrogate": (json.dumps(submission("d", "\ud800")), "half a character"),
}


@pytest.mark.parametrize("line, reason", BAD.values(), ids=BAD)
def test_a_bad_line_is_an_error_or_a_counted_skip(tmp_path, line, reason):
  records = [*COMMENTS, line]
  with pytest.raises(BadLineError) as error:
    read(tmp_path, SUBMISSIONS, records)
  assert str(error.value).startswith(f"{tmp_path / '1.jsonl'}:9: ")
  assert reason in str(error.value)
  pairs, tally = read(tmp_path, SUBMISSIONS, records, on_bad_line="skip")
  assert pairs == read(tmp_path, SUBMISSIONS, COMMENTS)[0]
  assert tally["records.left_out.bad"] == 1


def test_a_line_that_is_too_long(tmp_path, monkeypatch):
  monkeypatch.setattr(blocks, "BLOCK_BYTES", 100)
  monkeypatch.setattr(blocks, "MAX_RECORD_BYTES", 1000)
  long = comment("k9", "t3_a", "x" * 2000)
  records = [*COMMENTS[:2], long, *COMMENTS[2:]]
  with pytest.raises(BadLineError, match=r"1.jsonl:3: a record of more than 1"):
    read(tmp_path, SUBMISSIONS, records)
  pairs, tally = read(tmp_path, SUBMISSIONS, records, on_bad_line="skip")
  assert pairs == read(tmp_path, SUBMISSIONS, COMMENTS)[0]
  assert tally["records.left_out.bad"] == 1
  with pytest.raises(BadLineError, match="0.jsonl:1: a record of more than 1"):
    read(tmp_path, [long])


def test_an_id_that_comes_twice(tmp_path):
  again = {**COMMENTS[0], "body": "another"}
  with pytest.raises(
    BadLineError, match=r"1.jsonl:9: the id t1_k1 came before"
  ):
    read(tmp_path, SUBMISSIONS, [*COMMENTS, again])


def test_code_in_markdown():
  markdown = "Do:\n\n    make it\n\n```\nrun\n```\nDone &amp; dusted"
  kept = reddit.MarkdownToText()(markdown)
  assert kept.text == "Do: make it ``` run ``` Done & dusted"
  assert 0.3 < kept.code_share < 0.6
  assert reddit.MarkdownToText(False)(markdown).text == "Do: Done & dusted"


@pytest.mark.parametrize(
  "author, reason",
  [
    ("AutoModerator", "bot"),
    ("RemindMeBot", "bot"),
    ("bot-of-things", "bot"),
    ("abbott", ""),
    ("Botanist", ""),
    (None, ""),
  ],
)
def test_bots(author, reason):
  post = reddit.post(submission("a", "t", author=author), "f:1")
  assert not isinstance(post, str) and post.left_out == reason
