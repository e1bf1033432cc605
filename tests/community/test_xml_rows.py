"""Rows of XML: where errors are, and that nothing in a file is obeyed."""

import gzip

import pytest

from gtr_jax.community import blocks, xml_rows
from gtr_jax.files.lines import BadLineError

HEAD = '<?xml version="1.0" encoding="utf-8"?>\n<posts>\n'
TAIL = "</posts>\n"
BOMB = (
  '<?xml version="1.0"?>\n<!DOCTYPE posts [\n<!ENTITY a "aaaaaaaaaa">\n'
  '<!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">\n]>\n<posts>\n<row A="&b;" />\n'
  "</posts>"
)
OUTSIDE = (
  '<!DOCTYPE posts [<!ENTITY x SYSTEM "file:///etc/passwd">]>\n'
  '<posts><row A="&x;"/></posts>'
)


def rows(path):
  found = []
  for block in xml_rows.read(path, "posts"):
    xml_rows.parse(block, lambda row, line: found.append((line, dict(row))))
  return found


@pytest.fixture
def written(tmp_path):
  def write(content):
    path = tmp_path / "Posts.xml"
    path.write_bytes(
      content if isinstance(content, bytes) else content.encode()
    )
    return path

  return write


@pytest.mark.parametrize(
  "content",
  [
    HEAD + '  <row A="1" />\n  <row A="&lt;2&gt;&#xA;" />\n' + TAIL,
    "\ufeff" + HEAD + '<row A="1"/>\n<row A="&lt;2&gt;&#xA;"></row>' + TAIL,
    (HEAD + '<row A="1"/>\n<row A="&lt;2&gt;&#10;"/>\n' + TAIL).replace(
      "\n", "\r\n"
    ),
  ],
)
def test_reads_rows(written, content):
  assert rows(written(content)) == [(3, {"A": "1"}), (4, {"A": "<2>\n"})]


@pytest.mark.parametrize("content", [HEAD + TAIL, "<posts/>", "<posts />\n"])
def test_no_rows_are_no_error(written, content):
  assert rows(written(content)) == []


def test_the_size_of_blocks_changes_nothing(written, monkeypatch):
  content = HEAD + "".join(
    f'<row A="{n}" B="{"é<"[: n % 2] * n}"\n />\n'.replace("<é", "é")
    for n in range(200)
  )
  path = written(content + TAIL)
  expected = [(3 + 2 * n, n) for n in range(200)]
  for size in (20, 64, 999, 1 << 20):
    monkeypatch.setattr(blocks, "BLOCK_BYTES", size)
    # The line of a row is where its tag begins.
    assert [(line, int(row["A"])) for line, row in rows(path)] == expected


REFUSED = {
  "bomb": (BOMB, ":2: a document type (posts) came"),
  "outside": (OUTSIDE, ":1: a document type (posts) came"),
  "entity": (HEAD + '<row A="&x;"/>\n' + TAIL, ":3: not XML (undefined entity"),
  "root": ("<users>\n<row/></users>", ":1: the element <users> came, <posts>"),
  "child": (
    HEAD + '<row A="1"><b/></row>\n' + TAIL,
    ":3: the element <b> came",
  ),
  "text": (HEAD + '<row A="1"/> oops\n' + TAIL, ":3: the text ' oops"),
  "latin": (
    HEAD.replace("utf-8", "iso-8859-1") + TAIL,
    ":1: the encoding is iso-8859-1",
  ),
  "utf-16": ((HEAD + TAIL).encode("utf-16"), ":1: the file is UTF-16"),
  "bytes": (
    (HEAD + '<row A="1"/>\n<row A="~"/>\n' + TAIL)
    .encode()
    .replace(b"~", b"\xff"),
    ":4: not XML (not well-formed (invalid token) at column 9)",
  ),
  "NUL": (HEAD + '<row A="\0"/>\n' + TAIL, ":3: not XML (not well-formed"),
  "twice": (HEAD + '<row A="1" A="2"/>\n' + TAIL, ":3: not XML (duplicate"),
  "cut row": (HEAD + '<row A="1"/>\n<row A="', ":4: the file ends without"),
  "cut rows": (HEAD + '<row A="1"/>\n', ":4: the file ends without </posts>"),
  "cut head": ("<pos", ":1: not XML (unclosed token"),
  "empty": (b"", ":1: the file is empty"),
  "two roots": (
    HEAD + '<row A="1"/>\n' + TAIL + TAIL,
    ":4: not XML (mismatched",
  ),
  "no dump": ("{" * 100_000, ":1: not XML (not well-formed"),
  "no rows": (HEAD + " " * 100_000, ":1: no <row> in the first 65536 bytes"),
  "doctype inside": (
    HEAD + "<row/>\n</posts><!DOCTYPE a [<!ENTITY b 'c'>]><posts><row/>" + TAIL,
    ": not XML (",
  ),
}


@pytest.mark.parametrize("content, reason", REFUSED.values(), ids=REFUSED)
def test_one_clear_error_with_its_place(written, content, reason):
  path = written(content)
  with pytest.raises(BadLineError) as error:
    rows(path)
  assert f"{path}{reason[0]}" in str(error.value)
  assert reason in str(error.value)
  assert "\n" not in str(error.value)


def test_an_error_far_into_a_file_has_its_line(written, monkeypatch):
  monkeypatch.setattr(blocks, "BLOCK_BYTES", 300)
  good = '<row A="1"/>\n'
  path = written(HEAD + good * 500 + '<row A="&"/>\n' + good * 500 + TAIL)
  with pytest.raises(BadLineError, match=r"Posts.xml:503: not XML .* column 1"):
    rows(path)


def test_a_row_that_is_too_long(written, monkeypatch):
  monkeypatch.setattr(blocks, "BLOCK_BYTES", 100)
  monkeypatch.setattr(blocks, "MAX_RECORD_BYTES", 1000)
  long = f'<row A="{"x" * 100_000}"/>\n'
  path = written(HEAD + '<row A="1"/>\n' + long + '<row A="2"/>\n' + TAIL)
  with pytest.raises(BadLineError, match=":4: a record of more than 1000"):
    rows(path)
  found = list(xml_rows.read(path, "posts"))
  assert [block.line for block in found if block.too_long] == [4]
  kept = []
  for block in found:
    if not block.too_long:
      xml_rows.parse(block, lambda row, line: kept.append((line, row["A"])))
  assert kept == [(3, "1"), (5, "2")]


def test_broken_compression_is_told_with_its_place(tmp_path):
  content = gzip.compress(
    (
      HEAD + "".join(f'<row A="{n * n}"/>\n' for n in range(9999)) + TAIL
    ).encode()
  )
  path = tmp_path / "Posts.xml.gz"
  path.write_bytes(content[: len(content) // 2])
  with pytest.raises(BadLineError, match=r"xml.gz:\d+: the gzip stream is bro"):
    rows(path)


def test_single_rows_of_a_block():
  block = blocks.Block(
    "file", 7, b'<row A="1"/>\n\n <row\nB="2"/> <row C=">"/>\n'
  )
  found = [(b.line, b.data.strip()) for b in xml_rows.single(block)]
  assert found == [
    (7, b'<row A="1"/>'),
    (9, b'<row\nB="2"/>'),
    (10, b'<row C=">"/>'),
  ]


@pytest.mark.parametrize(
  "reference",
  ["&#x1F;", "&#31;", "&#x0;", "&#xD800;", "&#xFFFE;", "&#x110000;"],
)
def test_characters_that_xml_does_not_have_are_spaces(written, reference):
  row = '<row A="{}" />\n'
  content = HEAD + row.format(1) + row.format(f"&#xA;a{reference}b") + row * 2
  assert rows(written(content + TAIL)) == [
    (3, {"A": "1"}),
    (4, {"A": "\na b"}),
    (5, {"A": "{}"}),
    (6, {"A": "{}"}),
  ]


@pytest.mark.parametrize("reference", ["&#xZ;", "&#;", "&#x" + "9" * 50 + ";"])
def test_what_is_no_reference_is_an_error(written, reference):
  with pytest.raises(BadLineError, match="Posts.xml:3: not XML"):
    rows(written(HEAD + f'<row A="{reference}" />\n' + TAIL))
