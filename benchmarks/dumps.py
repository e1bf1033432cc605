"""Dumps like Stack Exchange's and Reddit's, of any size, made up.

`python -m benchmarks.dumps FILE --megabytes=200` writes a Posts.xml.
"""

import argparse
import json
import pathlib
import random
from collections.abc import Iterator
from xml.sax import saxutils

_SYLLABLES = [f"{head}{tail}" for head in "bdfgklmnprst" for tail in "aeiou"]
_NEW_LINE = {'"': "&quot;", "\n": "&#xA;"}
_QUESTION_RATE = 0.4
_COMMON = "the of to a in is how do I can you use it with for and this not"


class Writer:
  """Makes up words, sentences, HTML; the same for a seed."""

  def __init__(self, seed: int = 0) -> None:
    self.rng = random.Random(seed)
    rare = (
      "".join(self.rng.choices(_SYLLABLES, k=self.rng.randint(1, 4)))
      for _ in range(5000)
    )
    self._words = [*_COMMON.split() * 100, *rare]

  def words(self, least: int, most: int) -> str:
    return " ".join(
      self.rng.choices(self._words, k=self.rng.randint(least, most))
    )

  def title(self) -> str:
    return f"{self.words(5, 14).capitalize()}?"

  def html(self) -> str:
    return "\n\n".join(self._block() for _ in range(self.rng.randint(1, 6)))

  def _block(self) -> str:
    kind = self.rng.random()
    if kind < 0.15:
      lines = "\n".join(f"    {self.words(2, 7)} &lt;= {n};" for n in range(6))
      return f"<pre><code>{lines}\n</code></pre>"
    if kind < 0.25:
      items = "\n".join(f"<li>{self.words(4, 12)}</li>" for _ in range(4))
      return f"<ul>\n{items}\n</ul>"
    text = (
      f"{self.words(10, 60)} <code>x &amp;&amp; y</code>, {self.words(3, 9)}"
    )
    if kind < 0.5:
      text += f' <a href="https://example.org/q/{self.rng.random()}">here</a>'
    return f"<p>{text}.</p>"


def rows(seed: int = 0) -> Iterator[str]:
  """`<row …/>` of questions and their answers, without end, ids from 1."""
  writer, number, open_questions = Writer(seed), 0, []
  while True:
    number += 1
    fields: dict[str, str | int] = {
      "Id": number,
      "CreationDate": "2012-07-19T19:12:12.510",
      "Score": int(writer.rng.expovariate(0.3)) - 1,
      "Body": writer.html(),
      "OwnerUserId": writer.rng.randint(1, 99_999),
      "LastActivityDate": "2012-09-15T21:08:26.077",
      "CommentCount": writer.rng.randint(0, 5),
      "ContentLicense": "CC BY-SA 3.0",
    }
    if not open_questions or writer.rng.random() < _QUESTION_RATE:
      fields |= {
        "PostTypeId": 1,
        "Title": writer.title(),
        "Tags": "<one><two-three>",
        "ViewCount": writer.rng.randint(1, 9999),
      }
      if writer.rng.random() < 0.4:
        fields["AcceptedAnswerId"] = number + writer.rng.randint(1, 3)
      if writer.rng.random() < 0.04:
        fields["ClosedDate"] = "2013-01-01T00:00:00.000"
      open_questions = [*open_questions[-20:], number]
    elif writer.rng.random() < 0.01:
      fields["PostTypeId"] = 5  # A tag's wiki.
    else:
      fields |= {"PostTypeId": 2, "ParentId": writer.rng.choice(open_questions)}
    yield row(fields)


def row(fields: dict[str, str | int]) -> str:
  attributes = " ".join(
    f'{name}="{saxutils.escape(str(value), _NEW_LINE)}"'
    for name, value in fields.items()
  )
  return f"  <row {attributes} />\n"


def posts_xml(all_rows: Iterator[str] | list[str]) -> Iterator[str]:
  """The lines of Posts.xml, as the dumps have them, byte order mark and all."""
  yield '\ufeff<?xml version="1.0" encoding="utf-8"?>\n<posts>\n'
  yield from all_rows
  yield "</posts>"


def until(all_rows: Iterator[str], num_bytes: int) -> Iterator[str]:
  written = 0
  for line in all_rows:
    if written >= num_bytes:
      return
    written += len(line)
    yield line


def reddit(num_submissions: int, seed: int = 0) -> tuple[list[str], list[str]]:
  """Lines of submissions and of comments, JSON."""
  writer, comments, submissions = Writer(seed), [], []
  authors = [*(f"user{n}" for n in range(30)), "AutoModerator", "[deleted]"]
  for number in range(1000, 1000 + num_submissions):
    submissions.append(
      {
        "id": _base36(number),
        "title": writer.title(),
        "selftext": writer.rng.choice(["", writer.words(5, 40)]),
        "author": writer.rng.choice(authors),
        "score": writer.rng.randint(-1, 50),
        "subreddit": "AskAnything",
        "num_comments": 3,
      }
    )
    for _ in range(writer.rng.randint(0, 4)):
      name = _base36(50_000 + len(comments))
      parent = f"t3_{_base36(number)}"
      if writer.rng.random() < 0.3:
        parent = "t1_zzz"
      comments.append(
        {
          "id": name,
          "link_id": f"t3_{_base36(number)}",
          "parent_id": parent,
          "body": writer.words(5, 60),
          "author": writer.rng.choice(authors),
          "score": writer.rng.randint(-3, 40),
          "subreddit": "AskAnything",
        }
      )
  writer.rng.shuffle(comments)
  return [json.dumps(s) for s in submissions], [json.dumps(c) for c in comments]


def _base36(number: int) -> str:
  digits = "0123456789abcdefghijklmnopqrstuvwxyz"
  text = ""
  while number:
    number, digit = divmod(number, 36)
    text = digits[digit] + text
  return text


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("path", type=pathlib.Path)
  parser.add_argument("--megabytes", type=float, default=200)
  options = parser.parse_args()
  wanted = until(rows(), int(options.megabytes * 1e6))
  with options.path.open("w", encoding="utf-8", newline="") as stream:
    stream.writelines(posts_xml(wanted))


if __name__ == "__main__":
  main()
