"""Stack Exchange's dumps: rows of Posts.xml to posts.

Source: the schema of the public dump,
https://meta.stackexchange.com/questions/2677.
"""

import pathlib
from collections.abc import Iterator, Mapping

from gtr_jax.community import blocks, xml_rows
from gtr_jax.community.post import Post
from gtr_jax.files import folders, streams
from gtr_jax.files.lines import BadLineError

ROOT = "posts"
OTHER_KIND = "other_kind"  # Wikis, nominations: neither question nor answer.

_QUESTION, _ANSWER = "1", "2"
_MAX_DIGITS = 18


def read(path: pathlib.Path) -> Iterator[blocks.Block]:
  """Blocks of rows.  See `xml_rows.read`."""
  return xml_rows.read(path, ROOT)


def parse(block: blocks.Block) -> Iterator[Post | str]:
  """The posts of a block; a name for a row that is none.

  Raises:
    BadLineError: a row that is broken or lacks what a post has.
  """
  posts: list[Post | str] = []
  take = lambda row, line: posts.append(post(row, f"{block.path}:{line}"))
  xml_rows.parse(block, take)
  return iter(posts)


def post(row: Mapping[str, str], place: str) -> Post | str:
  """The post of a row, or why it is neither question nor answer."""
  kind = _text(row, "PostTypeId")
  if kind not in (_QUESTION, _ANSWER):
    return OTHER_KIND
  is_question = kind == _QUESTION
  left_out = "deleted" if "DeletionDate" in row else ""
  if is_question and "ClosedDate" in row:
    left_out = left_out or "closed"
  return Post(
    number=_number(row, "Id"),
    question=None if is_question else _number(row, "ParentId"),
    id=_text(row, "Id"),
    title=row.get("Title", "") if is_question else "",
    body=_text(row, "Body"),
    score=_number(row, "Score"),
    accepted=(
      _number(row, "AcceptedAnswerId") if "AcceptedAnswerId" in row else None
    ),
    left_out=left_out,
    place=place,
  )


def dumps(path: pathlib.Path) -> Iterator[pathlib.Path]:
  """The dumps that a path stands for: itself, or those in its folders.

  Raises:
    BadLineError: a folder without a dump.
  """
  if not path.is_dir():
    yield path
    return
  found = folders.search(path, _is_dump)
  if not found:
    raise BadLineError(f"{path}: no Posts.xml or .7z in the folder")
  yield from found


def site_of(path: pathlib.Path) -> str:
  """The site's name: of the folder for Posts.xml, else of the file.

  `stackoverflow.com-Posts.7z` and `stackoverflow.com/Posts.xml.gz` are
  stackoverflow.com.
  """
  name = path.name
  for suffix in (".gz", ".bz2", ".xz", ".zst", ".7z", ".xml"):
    name = name.removesuffix(suffix)
  if name.casefold() == ROOT:
    return path.absolute().parent.name or ROOT
  for ending in ("-Posts", "-posts", "_Posts", ".Posts"):
    name = name.removesuffix(ending)
  return name


def _is_dump(path: pathlib.Path) -> bool:
  name = path.name.casefold()
  plain = pathlib.PurePath(streams.stem(path)).name.casefold()
  if name.endswith(".7z"):
    return "-" not in path.stem or plain.endswith("-posts")
  return plain == "posts.xml" or plain.endswith("-posts.xml")


def _text(row: Mapping[str, str], name: str) -> str:
  if name not in row:
    raise ValueError(
      f"a row without {name} (it has {', '.join(list(row)[:6]) or 'nothing'}):"
      " a row of Posts.xml was due"
    )
  return row[name]


def _number(row: Mapping[str, str], name: str) -> int:
  text = _text(row, name)
  digits = text.removeprefix("-")
  if not (digits.isascii() and digits.isdigit()) or len(digits) > _MAX_DIGITS:
    raise ValueError(f"{name} is {text[:40]!r}, a whole number was due")
  return int(text)
