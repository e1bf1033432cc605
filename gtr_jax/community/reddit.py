"""Reddit-style dumps: a submission or a comment a line, JSON.

A submission is a question, the comments right under it are its answers.  Ids
are numbers of base 36 that grow with time.

Source: the fields of https://www.reddit.com/dev/api as the monthly dumps have
them (RS_*: submissions, RC_*: comments).
"""

import html
import pathlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gtr_jax.community import blocks
from gtr_jax.community.html_text import Text
from gtr_jax.community.post import Post
from gtr_jax.files import fields, lines, streams
from gtr_jax.files.lines import BadLineError

NESTED = "nested_reply"  # A comment on a comment.

_ID = re.compile(r"[0-9a-z]{1,12}")
_SUBMISSION, _COMMENT = "t3_", "t1_"
_GONE = {"[deleted]": "deleted", "[removed]": "removed"}
_BOT = re.compile(r"(?:^|[-_])bot(?:$|[-_])|automoderator|bot$", re.IGNORECASE)
_FENCE = "```"
_INVISIBLE = str.maketrans("", "", "\u200b\ufeff")


def read(path: pathlib.Path) -> Iterator[blocks.Block]:
  """Blocks of whole lines."""
  with streams.opened(path) as stream:
    yield from blocks.cut(path, stream, b"\n")


def parse(block: blocks.Block) -> Iterator[Post | str]:
  """The posts of a block; a name for a comment that is no answer.

  Raises:
    BadLineError: a line that is no submission and no comment.
  """
  for number, line in _lines(block):
    place = f"{block.path}:{number}"
    try:
      if block.too_long:
        raise blocks.too_long(block)
      record = lines.parse_object(_decoded(line))
      yield post(record, place)
    except ValueError as error:
      raise BadLineError(f"{place}: {error}") from None


def single(block: blocks.Block) -> Iterator[blocks.Block]:
  """The lines of a block, a block each."""
  if block.too_long:
    yield block
    return
  for number, line in _lines(block):
    yield blocks.Block(block.path, number, line)


def post(record: Mapping[str, Any], place: str) -> Post | str:
  """The post of a record, or why it is neither question nor answer."""
  if "title" not in record and "parent_id" not in record:
    raise ValueError(
      f"neither title nor parent_id among {', '.join(list(record)[:6])}: a"
      " submission or a comment was due"
    )
  is_question = "parent_id" not in record
  if not is_question and not _string(record, "parent_id").startswith(
    _SUBMISSION
  ):
    return NESTED
  name = _string(record, "id")
  body = _string(record, "selftext" if is_question else "body")
  parent = None if is_question else _string(record, "parent_id")
  return Post(
    number=_number(name, "id"),
    question=(
      None
      if parent is None
      else _number(parent.removeprefix(_SUBMISSION), "parent_id")
    ),
    id=f"{_SUBMISSION if is_question else _COMMENT}{name}",
    title=_plain(_string(record, "title")) if is_question else "",
    body=body,
    score=_score(record),
    accepted=None,
    left_out=_left_out(record, body),
    place=place,
  )


@dataclass(frozen=True)
class MarkdownToText:
  """Binds how the text of a post is read; marks for emphasis and links stay.

  Attributes:
    keep_code: whether blocks of code are text.
  """

  keep_code: bool = True

  def __call__(self, markdown: str) -> Text:
    kept, num_code, inside = [], 0, False
    plain = _plain(markdown)
    for line in plain.split("\n"):
      fence = line.lstrip().startswith(_FENCE)
      is_code = inside or fence or line.startswith("    ")
      inside ^= fence
      num_code += is_code * len(line)
      if self.keep_code or not is_code:
        kept.append(line)
    share = num_code / max(1, len(plain))
    return Text(" ".join(" ".join(kept).split()), min(1.0, share))


def _left_out(record: Mapping[str, Any], body: str) -> str:
  if body.strip() in _GONE:
    return _GONE[body.strip()]
  if _BOT.search(fields.optional_string(record.get("author"), "author")):
    return "bot"
  if record.get("distinguished") == "moderator" or record.get("stickied"):
    return "moderator"
  return ""


def _lines(block: blocks.Block) -> Iterator[tuple[int, bytes]]:
  if block.too_long:
    yield block.line, b""
    return
  for number, line in enumerate(block.data.split(b"\n"), start=block.line):
    if line.strip():
      yield number, line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line


def _decoded(line: bytes) -> str:
  try:
    return line.decode()
  except UnicodeDecodeError as error:
    raise ValueError(
      f"byte 0x{line[error.start]:02x} at column {error.start + 1} is not"
      " UTF-8: convert the file to UTF-8"
    ) from None


def _string(record: Mapping[str, Any], name: str) -> str:
  if name not in record:
    raise ValueError(
      f"no field {name!r} among {', '.join(list(record)[:6])}: a submission or"
      " a comment was due"
    )
  return fields.optional_string(record[name], name)


def _number(name: str, field: str) -> int:
  if not _ID.fullmatch(name):
    raise ValueError(
      f"{field} is {name[:40]!r}, digits and small letters were due"
    )
  return int(name, 36)


def _score(record: Mapping[str, Any]) -> int:
  score = record.get("score")
  if isinstance(score, bool) or not isinstance(score, int):
    raise ValueError(f"'score' is {str(score)[:40]!r}, a whole number was due")
  return score


def _plain(text: str) -> str:
  """Without HTML's entities, which the dumps have, and invisible spaces."""
  return html.unescape(text).translate(_INVISIBLE)
