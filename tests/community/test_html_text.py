"""HTML to text: known pages, and pages made to hurt."""

import pytest

from gtr_jax.community import html_text

pytest.importorskip("selectolax", reason="selectolax is not installed: [data]")

KNOWN = {
  "<p>a<b>b</b>c</p><p>d</p>": "abc d",
  "<ul><li>x</li><li>y</li></ul>z<br>w": "x y z w",
  "1 &lt; 2 &amp;&amp; &#x1F600;&nbsp;&eacute;": "1 < 2 && 😀 é",
  "<p>x <code>a &lt;b&gt;</code>.</p>": "x a <b>.",
  "a<script>b</script><style>c</style><!-- d -->e": "ae",
  "<table><tr><td>1</td><td>2</td></tr></table>": "1 2",
  "plain\n  text": "plain text",
  "a < b": "a < b",
  "<p>unclosed <b>tags <i>everywhere": "unclosed tags everywhere",
  '<img alt="<br>" src=x>picture': "picture",
  "": "",
}


@pytest.mark.parametrize("html, text", KNOWN.items())
def test_known_pages(html, text):
  assert html_text.HtmlToText()(html) == html_text.Text(text)


def test_blocks_of_code():
  html = "<p>Say:</p><pre><code>one two\n  three</code></pre><p>Done.</p>"
  kept = html_text.HtmlToText(keep_code=True)(html)
  assert kept.text == "Say: one two three Done."
  assert kept.code_share == len("one two three") / len(kept.text)
  dropped = html_text.HtmlToText(keep_code=False)(html)
  assert dropped.text == "Say: Done."
  assert dropped.code_share == kept.code_share


def test_what_is_left_out_may_hold_more_of_it():
  html = "<pre>1<pre>2<svg><style>3</style></svg></pre></pre>d<object><object>"
  assert html_text.HtmlToText()(html).text == "1 2 d"
  assert html_text.HtmlToText(keep_code=False)(html).text == "d"


def test_many_tags_are_no_harm():
  html = "<p>a</p><br><li>b<b>c</b>" * 5000
  assert html_text.HtmlToText()(html).text == " ".join(["a bc"] * 5000)


@pytest.mark.parametrize("tag", ["<div>", "<b>", "<svg>", "<table>"])
def test_endless_depth_is_refused(tag):
  text = html_text.HtmlToText()(tag * 100_000 + "text")
  assert text == html_text.Text("", refused="too_deep")


@pytest.mark.parametrize(
  "html", ["&" * 99_999, "<!--" * 99_999, "</p>" * 99_999]
)
def test_strange_pages_end(html):
  html_text.HtmlToText()(html)
