"""The documentation tells the truth: commands, links, macros, files."""

import argparse
import ast
import importlib
import json
import pathlib
import re
import shlex

import pytest

import gtr_jax
from gtr_jax.data import pair
from gtr_jax.run import cli, gin_config
from gtr_jax.run import main as programs

ROOT = pathlib.Path(__file__).parents[1]
PAGES = [
  ROOT / "README.md",
  ROOT / "CHANGELOG.md",
  *sorted((ROOT / "docs").glob("*.md")),
]
EXPERIMENTS = sorted((ROOT / "gin_configs" / "experiments").glob("*.gin"))
CONFIGS = ROOT / "docs" / "configs.md"

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
TITLE = re.compile(r"# (\w+\.(?:gin|py))\b")
CODE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.M)
FLAG = re.compile(r"--(\w+)")
FILE = re.compile(r"[\w.-]+(?:/[\w.-]+)+\.(?:py|gin|md|toml|txt)")
PLACEHOLDER = re.compile(r"\b[A-Z_]{4,}\b")
MACRO = re.compile(r"^([A-Z][A-Z0-9_]*) = (.*?)(?:  #.*)?$", re.M)
ROW = re.compile(r"^\| `([A-Z][A-Z0-9_]*)` \| `(.*?)` \| ", re.M)

# Flags of pip, git and pytest that pages mention.
OTHER_FLAGS = {"import", "no"}


def name_of(path):
  return str(path.relative_to(ROOT))


EACH_PAGE = pytest.mark.parametrize("page", PAGES, ids=name_of)


def blocks(page, *languages):
  """The fenced blocks of these languages."""
  found = FENCE.findall(page.read_text())
  return [text for language, text in found if language in languages]


def prose(page):
  return FENCE.sub("", page.read_text())


def commands(page):
  """The `gtr` commands of the shell blocks, as lists of words."""
  for block in blocks(page, "bash"):
    for line in block.replace("\\\n", " ").splitlines():
      words = shlex.split(line, comments=True)
      while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):  # Environment.
        words = words[1:]
      if words and pathlib.Path(words[0]).name == "gtr":
        yield words[1:]


COMMANDS = [
  pytest.param(words, id=f"{page.stem}-{number}-{words[0]}")
  for page in PAGES
  for number, words in enumerate(commands(page))
]


def program(name):
  assert name in programs.PROGRAMS, f"there is no gtr {name}"
  return importlib.import_module(f"gtr_jax.run.{programs.PROGRAMS[name][0]}")


def flags_of(name):
  parser = argparse.ArgumentParser()
  program(name).add_arguments(parser)
  return set(FLAG.findall(parser.format_help())) | {"json", "debug"}


@pytest.fixture
def users_folder(tmp_path, monkeypatch):
  """The files that the pages show; modules are empty, so nothing is run."""
  for page in PAGES:
    for block in blocks(page, "gin", "python"):
      if title := TITLE.match(block):
        is_gin = title[1].endswith(".gin")
        (tmp_path / title[1]).write_text(block if is_gin else "")
  monkeypatch.chdir(tmp_path)
  monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.parametrize("words", COMMANDS)
def test_commands_parse(words, users_folder, capsys):
  name, *rest = words
  try:
    args = cli.call(name, program(name).add_arguments, vars, rest)
  except SystemExit as exit:
    pytest.fail(f"gtr {name}: exit {exit.code}: {capsys.readouterr().err}")
  if name == "train":
    gin_config.parse(args["gin_file"], args["gin_bindings"])


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_experiments_parse(path):
  gin_config.parse([f"experiments/{path.name}"], ["MODEL_DIR='somewhere'"])


def test_every_program_is_told():
  readme = (ROOT / "README.md").read_text()
  for name in programs.PROGRAMS:
    assert f"| `gtr {name}` |" in readme


@EACH_PAGE
def test_flags_in_the_text_exist(page):
  known = set().union(*map(flags_of, programs.PROGRAMS))
  for span in CODE.findall(prose(page)):
    words = span.split()
    is_command = words[0] == "gtr" and len(words) > 1 and words[1].islower()
    here = flags_of(words[1]) if is_command else known | OTHER_FLAGS
    for flag in FLAG.findall(span):
      assert flag in here | {"gin", "help"}, span


@EACH_PAGE
def test_links_lead_somewhere(page):
  for link in LINK.findall(prose(page)):
    if "://" in link:
      continue
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    assert target.exists(), f"{link} leads nowhere"
    if anchor:
      assert anchor in anchors(target), f"{link}: no such heading"


def anchors(page):
  """The anchors that GitHub makes of headings."""
  for heading in HEADING.findall(FENCE.sub("", page.read_text())):
    kept = re.sub(r"[^\w\- ]", "", heading.lower())
    yield kept.replace(" ", "-")


@EACH_PAGE
def test_files_that_are_named_exist(page):
  folders = [ROOT, ROOT / "gtr_jax", ROOT / "gin_configs"]
  for span in CODE.findall(prose(page)):
    if FILE.fullmatch(span) and not PLACEHOLDER.search(span):
      assert any((folder / span).exists() for folder in folders), span


def test_every_file_has_its_line_in_the_architecture():
  text = (ROOT / "docs" / "architecture.md").read_text()
  package = ROOT / "gtr_jax"
  files = [path.relative_to(package) for path in package.rglob("*.py")]
  told = [path.as_posix() for path in files if path.name != "__init__.py"]
  assert not [path for path in told if f"`{path}`" not in text]


@pytest.mark.parametrize("file", ["runs/train.gin", "models/gtr_base.gin"])
def test_the_table_of_macros_agrees_with_the_file(file):
  _, _, rest = CONFIGS.read_text().partition(f"### `{file}`\n")
  table = rest.partition("\n#")[0]
  config = (ROOT / "gin_configs" / file).read_text()
  assert ROW.findall(table) == MACRO.findall(config)


@EACH_PAGE
def test_python_examples_name_what_exists(page):
  for block in blocks(page, "python"):
    ast.parse(block)
    for name in re.findall(r"\bgtr_jax\.(\w+)\(", block):
      assert hasattr(gtr_jax, name), f"gtr_jax.{name}"


@EACH_PAGE
def test_example_pairs_are_pairs(page):
  for block in blocks(page, "json"):
    for line in block.splitlines():
      pair.parse_pair(json.loads(line))
