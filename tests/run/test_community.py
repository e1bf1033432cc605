"""`gtr community`: flags, files, the table, exit status."""

import gzip
import json
import os
import sys

import pytest

from benchmarks import dumps
from gtr_jax.data import sources
from gtr_jax.run import community

for library in ("selectolax", "rensa", "pycld2"):
  pytest.importorskip(library, reason=f"{library} is not installed: [data]")


@pytest.fixture
def sites(tmp_path):
  for seed, site in enumerate(["b.example.com", "a.example.com"]):
    folder = tmp_path / "dumps" / site
    folder.mkdir(parents=True)
    rows = dumps.until(dumps.rows(seed), 60_000)
    (folder / "Posts.xml").write_text("".join(dumps.posts_xml(rows)), "utf-8")
  return tmp_path / "dumps"


def run(*flags, status=0, format="stackexchange"):
  common = [f"--format={format}", "--workers=1", "--json"]
  assert community.main([*common, *map(str, flags)]) == status


def test_shards_and_statistics(sites, tmp_path, capsys):
  out = tmp_path / "out"
  run("--input", sites, "--output", out, "--shards=3")
  lines = capsys.readouterr().out.splitlines()
  assert lines[0].startswith("a.example.com: ")
  result = json.loads(lines[-1])
  assert result == json.loads((out / "statistics.json").read_text())
  assert list(result["sites"]) == ["a.example.com", "b.example.com"]
  files = sorted(out.iterdir())
  assert [file.name for file in files] == [
    *(f"a.example.com-0000{n}-of-00003.jsonl.gz" for n in range(3)),
    *(f"b.example.com-0000{n}-of-00003.jsonl.gz" for n in range(3)),
    "statistics.json",
  ]
  pairs = list(sources.read_pairs(files[:-1]))
  assert len(pairs) == result["total"]["pairs"]["out"] > 10
  counts = result["total"]["questions"]
  assert len(pairs) + sum(counts["left_out"].values()) == counts["in"]
  sizes = [gzip.decompress(f.read_bytes()).count(b"\n") for f in files[:3]]
  assert max(sizes) - min(sizes) <= 1
  assert all(
    str(pair.query_id).split("/")[0] in result["sites"] for pair in pairs
  )


ANY_LENGTH = [f"--min_{text}_characters=none" for text in ("query", "answer")]


def pairs_of(folder):
  files = sorted(folder.glob("*.jsonl.gz"))
  return [
    (p.query_id, p.query, *p.positives) for p in sources.read_pairs(files)
  ]


def test_reddit(tmp_path):
  for name, lines in zip(("RS_1", "RC_1"), dumps.reddit(30), strict=True):
    content = gzip.compress("\n".join(lines).encode())
    (tmp_path / f"{name}.jsonl.gz").write_bytes(content)
  run("--input", tmp_path, "--output", tmp_path / "out", format="reddit")
  assert len(pairs_of(tmp_path / "out")) > 10


def test_pages(tmp_path):
  for name in ("a", "b"):
    page = tmp_path / "help" / name / "index.html"
    page.parent.mkdir(parents=True)
    page.write_text(f"<dl><dt>What is {name}?</dt><dd>It is {name}.</dd></dl>")
  (tmp_path / "help" / "c.html").write_text("no question")
  out = tmp_path / "out"
  flags = ["--input", tmp_path / "help", "--output", out, *ANY_LENGTH]
  run(*flags, format="faq")
  assert pairs_of(out) == [
    ("help/a/index.html#1", "What is a?", "It is a."),
    ("help/b/index.html#1", "What is b?", "It is b."),
  ]
  assert (out / "help-00000-of-00001.jsonl.gz").exists()
  result = json.loads((out / "statistics.json").read_text())
  assert result["total"]["records"] == {"in": 3, "left_out": {"no_question": 1}}
  (tmp_path / "help" / "d.html").write_bytes(b"\xff")
  run(*flags, format="faq", status=2)
  run(*flags, "--on_bad_line=skip", format="faq")
  result = json.loads((out / "statistics.json").read_text())
  assert result["total"]["records"]["left_out"] == {"bad": 1, "no_question": 1}


def test_fields(tmp_path, capsys):
  file = tmp_path / "mine.jsonl"
  file.write_text('{"q": "one", "a": ["two", "three"], "id": 5}\n{"q": 1}\n')
  flags = ["--input", file, "--output", tmp_path / "out", *ANY_LENGTH]
  flags += ["--title_field=q", "--answer_field=a", "--num_answers=2"]
  run(*flags, format="fields", status=2)
  assert f"{file}:2: no field 'a'" in capsys.readouterr().err
  run(*flags, "--on_bad_line=skip", format="fields")
  assert pairs_of(tmp_path / "out") == [("mine/5", "one", "two", "three")]
  result = json.loads(capsys.readouterr().out.splitlines()[-1])
  assert result["total"]["records"] == {"in": 2, "left_out": {"bad": 1}}


def test_the_same_command_gives_the_same_bytes(sites, tmp_path):
  for name in ("one", "two"):
    run("--input", sites, "--output", tmp_path / name)
  for file in (tmp_path / "one").iterdir():
    assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()


def test_bad_rows(sites, tmp_path, capsys):
  path = sites / "a.example.com" / "Posts.xml"
  path.write_text(path.read_text("utf-8").replace("<row", "<row Id='1'", 1))
  run("--input", path, "--output", tmp_path / "out", status=2)
  error = capsys.readouterr().err
  assert f"{path}:3: not XML (duplicate attribute" in error
  assert error.count("\n") == 1
  assert [file.name for file in tmp_path.iterdir()] == ["dumps"]
  run("--input", path, "--output", tmp_path / "out", "--on_bad_line=skip")
  out, error = capsys.readouterr()
  assert "1 left out: bad" in out and f"{path}:3: " in error


def test_beam(sites, tmp_path, capsys):
  pytest.importorskip(
    "apache_beam",
    reason="apache-beam is not installed: [beam]; a large library",
  )
  run("--input", sites, "--output", tmp_path / "here")
  capsys.readouterr()
  flags = ["--beam=tfrecord", "--beam_options=--runner=DirectRunner"]
  run("--input", sites, "--output", tmp_path / "beam", *flags)
  results = [
    json.loads((tmp_path / name / "statistics.json").read_text())
    for name in ("here", "beam")
  ]
  assert results[0] == results[1]
  files = sorted((tmp_path / "beam").glob("*.tfrecord"))
  assert len(files) == 2
  found = [
    (p.query_id, p.query, *p.positives) for p in sources.read_pairs(files)
  ]
  assert sorted(found) == sorted(pairs_of(tmp_path / "here"))


@pytest.mark.parametrize(
  "library, flag",
  [
    ("selectolax.lexbor", "--shards=1"),
    ("rensa", "--shards=1"),
    ("pycld2", "--languages=en"),
  ],
)
def test_a_missing_library_is_told_before_work(
  sites, tmp_path, capsys, monkeypatch, library, flag
):
  monkeypatch.setitem(sys.modules, library, None)
  dump = sites / "a.example.com" / "Posts.xml"
  dump.write_text("nothing is read")
  run("--input", sites, "--output", tmp_path / "out", flag, status=2)
  assert "pip install 'gtr_jax[data]'" in capsys.readouterr().err


MISTAKES = [
  (["--languages=en,english"], "no language has the code 'english'"),
  (["--max_code_share=2"], "--max_code_share is 2.0: give 0 to 1"),
  (["--shards=100000"], "--shards is 100000: give 1 to 10000"),
  (["--shards=0"], "--shards is 0: give 1 or more"),
  (["--format=faq", "--beam=tfrecord"], "run it without --beam"),
  (["--near_duplicates=0.2"], "give 0.5 to 1, or 0"),
  (["--min_answer_score=1000"], "no pair came out of"),
]


@pytest.mark.parametrize("flags, reason", MISTAKES)
def test_mistakes_are_one_line(sites, tmp_path, capsys, flags, reason):
  run("--input", sites, "--output", tmp_path / "out", *flags, status=2)
  error = capsys.readouterr().err
  assert reason in error and error.count("\n") == 1


def test_a_folder_with_files_is_refused(sites, tmp_path, capsys):
  (tmp_path / "out").mkdir()
  (tmp_path / "out" / "mine.txt").touch()
  run("--input", sites, "--output", tmp_path / "out", status=2)
  assert "no earlier result" in capsys.readouterr().err


def test_a_name_that_no_id_can_hold_is_told(sites, tmp_path, capsys):
  folder = os.fsdecode(os.fsencode(tmp_path) + b"/\xff")
  (sites / "a.example.com").rename(folder)
  run("--input", folder, "--output", tmp_path / "out", status=2)
  assert "no site can have the name '\\udcff'" in capsys.readouterr().err


def test_input_is_never_replaced(sites, tmp_path, capsys):
  out = tmp_path / "out"
  out.mkdir()
  (out / "statistics.json").write_text("{}")  # As an earlier result has it.
  dump = (sites / "a.example.com" / "Posts.xml").rename(out / "Posts.xml")
  run("--input", dump, "--output", out, status=2)
  assert "is input and lies in the output folder" in capsys.readouterr().err
  assert dump.is_file()


def test_an_empty_file_among_others_is_told(tmp_path, capsys):
  (tmp_path / "in").mkdir()
  (tmp_path / "in" / "a.jsonl").write_text('["a question ?", "an answer"]\n')
  (tmp_path / "in" / "b.jsonl").touch()
  flags = ("--input", tmp_path / "in", "--output", tmp_path / "out")
  run(*flags, status=2, format="fields")
  assert "b.jsonl:1: the file is empty" in capsys.readouterr().err


def test_a_file_given_by_two_names_is_told(sites, tmp_path, capsys):
  file = tmp_path / "x.jsonl"
  file.write_text('["a question ?", "an answer to it"]\n')
  (tmp_path / "link").mkdir()
  other = tmp_path / "link" / "x.jsonl"
  other.symlink_to(file)
  flags = ("--input", file, other, "--output", tmp_path / "out")
  run(*flags, status=2, format="fields")
  assert "is given twice" in capsys.readouterr().err


def test_none_is_no_limit():
  assert community.optional_int("none") is None
  assert community.optional_int("-3") == -3
