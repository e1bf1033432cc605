"""`gtr community`: flags, files, the table, exit status."""

import gzip
import json

import pytest

from benchmarks import dumps
from gtr_jax.data import sources
from gtr_jax.run import community

for library in ("selectolax", "rensa"):
  pytest.importorskip(library, reason=f"{library} is not installed: [data]")


@pytest.fixture
def sites(tmp_path):
  for seed, site in enumerate(["b.example.com", "a.example.com"]):
    folder = tmp_path / "dumps" / site
    folder.mkdir(parents=True)
    rows = dumps.until(dumps.rows(seed), 60_000)
    (folder / "Posts.xml").write_text("".join(dumps.posts_xml(rows)), "utf-8")
  return tmp_path / "dumps"


def run(*flags, status=0):
  common = ["--format=stackexchange", "--workers=1", "--json"]
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


MISTAKES = [
  (["--shards=0"], "--shards is 0: give 1 or more"),
  (["--near_duplicates=0.2"], "give 0.5 to 1, or 0"),
  (["--min_answer_score=1000"], "no pair came out of"),
]


@pytest.mark.parametrize("flags, reason", MISTAKES)
def test_mistakes_are_one_line(sites, tmp_path, capsys, flags, reason):
  run("--input", sites, "--output", tmp_path / "out", *flags, status=2)
  error = capsys.readouterr().err
  assert reason in error and error.count("\n") == 1


def test_a_folder_with_files_is_refused(sites, tmp_path, capsys):
  run("--input", sites, "--output", sites, status=2)
  assert "no earlier result" in capsys.readouterr().err


def test_none_is_no_limit():
  assert community.optional_int("none") is None
  assert community.optional_int("-3") == -3
