"""Pages of questions: each kind of markup, and pages that are broken."""

import json

import pytest

from gtr_jax.community import faq
from gtr_jax.community.html_text import HtmlToText
from gtr_jax.files.lines import BadLineError

pytest.importorskip("selectolax", reason="selectolax is not installed: [data]")

JSON_LD = {
  "@context": "https://schema.org",
  "@graph": [
    {"@type": "WebSite", "name": "no question"},
    {
      "@type": ["FAQPage"],
      "mainEntity": [
        {
          "@type": "Question",
          "name": "What is  it?",
          "acceptedAnswer": {
            "@type": "Answer",
            "text": "<p>It is<br>that.</p>",
          },
        },
        {
          "@type": "Question",
          "name": "Which?",
          "acceptedAnswer": {"text": "First."},
          "suggestedAnswer": [{"text": "Second."}, "Third."],
        },
      ],
    },
  ],
}
MICRODATA = """
<div itemscope itemtype="https://schema.org/FAQPage">
 <div itemprop="mainEntity" itemscope itemtype="https://schema.org/Question">
  <h3 itemprop="name">What is it?</h3>
  <div itemprop="acceptedAnswer" itemscope itemtype="https://schema.org/Answer">
   <div itemprop="text"><p>It is</p><p>that.</p></div></div></div></div>"""
DETAILS = """<details><summary>What is <b>it</b>?</summary>
It is<p>that.</p></details><details>no summary</details>"""
TERMS = """<dl><dt>What is it?</dt><dd>It is that.</dd>
<div><dt>Which?</dt><dt>Who?</dt><dd>One.</dd><dd>Two.</dd></div>
<dt>Never answered</dt></dl>"""


def script(value):
  text = value if isinstance(value, str) else json.dumps(value)
  return f'<script type="application/ld+json">{text}</script>'


def read(tmp_path, html):
  path = tmp_path / "page.html"
  path.write_bytes(html if isinstance(html, bytes) else html.encode())
  return [
    (question.query, [answer.text for answer in question.answers])
    for question in faq.read(path, "site/page.html", HtmlToText())
  ]


IT = ("What is it?", ["It is that."])
WHICH = ("Which?", ["First.", "Second.", "Third."])


@pytest.mark.parametrize(
  "html, found",
  [
    (script(JSON_LD), [IT, WHICH]),
    (MICRODATA, [IT]),
    (DETAILS, [IT]),
    (TERMS, [IT, ("Which?", ["One.", "Two."]), ("Who?", ["One.", "Two."])]),
    (MICRODATA + DETAILS, [IT]),
    (f"<details><div>{DETAILS}</div></details>", [IT]),
    (script(json.dumps(JSON_LD).replace("<br>", "\n")), [IT, WHICH]),
    ("<p>What is it? It is that.</p>", []),
    ("", []),
  ],
)
def test_each_kind_of_markup(tmp_path, html, found):
  assert read(tmp_path, html) == found
  page = f"<!doctype html><html><body><main>{html}</main></body></html>"
  assert read(tmp_path, page) == found


def test_ids_count_within_a_page(tmp_path):
  path = tmp_path / "a.html"
  path.write_text(TERMS)
  found = faq.read(path, "s/a.html", HtmlToText())
  assert [q.id for q in found] == [f"s/a.html#{n}" for n in (1, 2, 3)]


@pytest.mark.parametrize(
  "content",
  [
    "<dl><dt>é?</dt><dd>日本</dd></dl>".encode(),
    b"\xef\xbb\xbf" + "<dl><dt>é?</dt><dd>日本</dd></dl>".encode(),
    "<dl><dt>é?</dt><dd>日本</dd></dl>".encode("utf-16"),
    '<meta charset="shift_jis"><dl><dt>&eacute;?<dd>日本'.encode("shift_jis"),
  ],
)
def test_encodings(tmp_path, content):
  assert read(tmp_path, content) == [("é?", ["日本"])]


BROKEN = {
  "JSON-LD": (script('{"@type": "Question", '), ":1: the JSON-LD is not JSON"),
  "deep JSON": (script("[" * 100_000), ":1: the JSON-LD is not JSON"),
  "bytes": (b"<p>\n\xff</p>", ":2: byte 0xff is not utf-8"),
  "encoding": (b"<meta charset=utf-99>", ":1: no encoding is called utf-99"),
  "depth": ("<div>" * 100_000, ":1: elements in each other without end"),
}


@pytest.mark.parametrize("html, reason", BROKEN.values(), ids=BROKEN)
def test_one_clear_error_with_its_place(tmp_path, html, reason):
  with pytest.raises(BadLineError) as error:
    read(tmp_path, html)
  assert f"page.html{reason}" in str(error.value)
  assert "\n" not in str(error.value)


def test_a_page_that_is_too_long(tmp_path, monkeypatch):
  monkeypatch.setattr(faq, "_MAX_PAGE_BYTES", 100)
  assert read(tmp_path, "x" * 100) == []
  with pytest.raises(BadLineError, match="a page of more than 100 bytes"):
    read(tmp_path, "x" * 101)


def test_nested_json_without_questions_ends(tmp_path):
  value = {"@type": "Question", "name": "q", "acceptedAnswer": {"text": "a"}}
  for _ in range(100):
    value = {"a": value}
  assert read(tmp_path, script(value)) == []
