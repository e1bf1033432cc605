"""Tasks by their names, on small files of the official forms."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from gtr_jax.data import examples, task_names, task_texts, vocabulary
from gtr_jax.tasks import catalogue


@pytest.fixture
def folder(tmp_path, monkeypatch):
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
  monkeypatch.delenv(catalogue.DATA_DIR_VARIABLE, raising=False)
  return tmp_path / "data"


def write(path: pathlib.Path, *lines: str) -> None:
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text("".join(line + "\n" for line in lines))


def write_rocketqa(folder, count=40):
  write(
    folder / "rocketqa/marco/marco_de1_denoise.tsv",
    *(
      "\t".join([f"query {n}", f"title {n}", f"right {n}", "-", wrong, "0"])
      for n in range(count)
      for wrong in (f"wrong {n} a", f"wrong {n} b")
    ),
  )


def write_msmarco(folder):
  write(
    folder / "msmarco/collection.tsv", *(f"{n}\ttext {n}" for n in range(9))
  )
  write(
    folder / "msmarco/queries.train.tsv", *(f"{n}\task {n}" for n in range(3))
  )
  write(folder / "msmarco/qrels.train.tsv", "0\t0\t5\t1", "2\t0\t7\t1")


def pairs(name, folder):
  names = catalogue.names(str(folder))
  found = task_texts.placed_pairs(name, names=names)
  return [pair for *_, pair in found.read()]


def test_the_second_stage_of_the_paper(folder):
  write_rocketqa(folder)
  found = pairs("msmarco_rocketqa", folder)
  assert len(found) == 40
  assert found[3].query == "query 3"
  assert found[3].positives == ("title 3 right 3",)
  assert set(found[3].negatives) == {"wrong 3 a", "wrong 3 b"}


def test_a_tenth_of_its_queries(folder):
  write_rocketqa(folder, 2000)
  tenth = pairs("msmarco_rocketqa_10_percent", folder)
  assert 150 < len(tenth) < 250
  whole = {pair.query: pair for pair in pairs("msmarco_rocketqa", folder)}
  assert all(whole[pair.query] == pair for pair in tenth)


def test_judgements_of_msmarco(folder):
  write_msmarco(folder)
  assert [
    (pair.query, pair.positives, pair.query_id)
    for pair in pairs("msmarco", folder)
  ] == [("ask 0", ("text 5",), "0"), ("ask 2", ("text 7",), "2")]


def test_pairs_of_community_sites(folder):
  for site in ("cooking", "unix"):
    write(
      folder / f"community_qa/{site}-00000-of-00001.jsonl",
      json.dumps({"query": site, "positive": "answer"}),
    )
  found = pairs("community_qa", folder)
  assert [pair.query for pair in found] == ["cooking", "unix"]


def test_the_folder_may_come_from_the_environment(folder, monkeypatch):
  write_msmarco(folder)
  with pytest.raises(ValueError, match="'msmarco' is read from a data folder"):
    pairs("msmarco", "")
  monkeypatch.setenv(catalogue.DATA_DIR_VARIABLE, str(folder))
  assert len(pairs("msmarco", "")) == 2


@pytest.mark.parametrize(
  "name", [name for name, task in catalogue.TASKS.items() if task.files]
)
def test_missing_files_are_named(name, folder):
  with pytest.raises(ValueError, match=f"task '{name}': nothing matches"):
    pairs(name, folder)


def test_changed_files_are_other_data(folder):
  write_msmarco(folder)
  names = catalogue.names(str(folder))

  def facts(name):
    source = task_names.open_task(name, "error", names)
    assert source is not None
    return source.facts

  before = facts("msmarco")
  assert facts("msmarco") == before
  os.utime(folder / "msmarco/collection.tsv", ns=(1, 1))
  assert facts("msmarco") != before


def test_a_folder_of_beir(folder, shared_data):
  (folder / "beir").mkdir(parents=True)
  (folder / "beir/scifact").symlink_to(shared_data / "beir/scifact")
  found = pairs("beir_scifact", folder)
  assert len(found) == 809
  assert all(pair.positive_ids for pair in found)


def test_the_documentation_has_every_name():
  page = pathlib.Path(__file__).parents[2] / "docs/data.md"
  text = page.read_text()
  names = [*catalogue.TASKS, *catalogue.MIXTURES]
  assert [name for name in names if f"`{name}`" not in text] == []


def test_mixtures_are_of_tasks():
  for rates in catalogue.MIXTURES.values():
    assert set(rates) <= set(catalogue.TASKS)


def test_names_are_tasks_in_a_mixture(folder):
  write_msmarco(folder)
  write_rocketqa(folder)
  opening = examples.Opening(
    {"query": 16, "passage": 16},
    vocab_size=300,
    directory=folder / "examples",
    names=catalogue.names(str(folder)),
  )
  mixed, _ = examples.open_tasks({"msmarco": 1, "msmarco_rocketqa": 3}, opening)
  assert [len(part.store) for part in mixed.parts] == [2, 40]
  assert not examples.bring_vocabulary("msmarco", opening.names)
  with pytest.raises(ValueError, match="nearest are 'msmarco'"):
    examples.open_tasks("msmarko", opening)


@pytest.fixture(scope="module")
def vocabulary_path(tmp_path_factory):
  directory = tmp_path_factory.mktemp("vocabulary")
  vocabulary.save(
    vocabulary.train(["query text title 0 1 2 ask"], 300), directory
  )
  return directory / vocabulary.MODEL_FILE


def test_seqio_knows_the_names(folder, vocabulary_path):
  write_msmarco(folder)
  code = (
    "import gtr_jax.tasks.registered, seqio\n"
    "task = seqio.get_mixture_or_task('msmarco')\n"
    "rows = task.get_dataset({'inputs': 9, 'targets': 9}, 'train',"
    " use_cached=False, shuffle=False)\n"
    "print([row['inputs'].tolist() for row in rows.as_numpy_iterator()])\n"
    "print(task.supports_caching, 'python_docs_stage1' in"
    " seqio.TaskRegistry.names())"
  )
  environment = {
    **os.environ,
    "GTR_DATA_DIR": str(folder),
    "GTR_VOCABULARY": str(vocabulary_path),
  }
  done = subprocess.run(
    [sys.executable, "-c", code],
    env=environment,
    capture_output=True,
    text=True,
    check=True,
  )
  rows, _ = vocabulary.load(vocabulary_path).encode(
    ["ask 0", "ask 2"], 9, "query"
  )
  assert done.stdout.splitlines() == [
    str([row.tolist() for row in rows]),
    "True True",
  ]


def test_seqio_needs_a_vocabulary(monkeypatch):
  environment = {**os.environ, "GTR_VOCABULARY": ""}
  done = subprocess.run(
    [sys.executable, "-c", "import gtr_jax.tasks.registered"],
    env=environment,
    capture_output=True,
    text=True,
  )
  assert done.stderr.splitlines()[-1].startswith(
    "ValueError: SeqIO's tasks need a vocabulary: set GTR_VOCABULARY"
  )


def test_seqio_caches_the_tasks(folder, vocabulary_path, tmp_path):
  """By SeqIO's own program, which needs Apache Beam."""
  pytest.importorskip("apache_beam", reason="SeqIO caches by Apache Beam")
  write_rocketqa(folder, 5)
  environment = {
    **os.environ,
    "GTR_DATA_DIR": str(folder),
    "GTR_VOCABULARY": str(vocabulary_path),
  }
  run = lambda *command: subprocess.run(
    [sys.executable, *command],
    env=environment,
    capture_output=True,
    text=True,
    check=True,
  )
  run(
    "-m",
    "seqio.scripts.cache_tasks_main",
    "--module_import=gtr_jax.tasks.registered",
    "--tasks=^msmarco_rocketqa$",
    f"--output_cache_dir={tmp_path}",
    "--min_shards=2",
  )
  code = (
    "import gtr_jax.tasks.registered, seqio\n"
    f"seqio.add_global_cache_dirs([{str(tmp_path)!r}])\n"
    "task = seqio.get_mixture_or_task('msmarco_rocketqa')\n"
    "for cached in (False, True):\n"
    "  rows = task.get_dataset({'inputs': 9, 'targets': 9}, 'train',"
    " use_cached=cached, shuffle=False)\n"
    "  print(sorted((row['inputs'].tolist(), row['targets'].tolist(),"
    " row['negative_targets'].tolist()) for row in rows.as_numpy_iterator()))"
  )
  plain, cached = run("-c", code).stdout.splitlines()
  assert plain == cached and plain.count("(") == 5
