"""Each benchmark runs at its smallest and prints its figures."""

import importlib
import json
import pathlib

import pytest

EXPECTED = {
  "community": {"Stack Exchange: parse", "Stack Exchange: to pairs"},
  "labelled": {
    "text store: build",
    "text store: look up",
    "MS MARCO to pairs: judgements",
    "MS MARCO to pairs: 1 hard negative",
    "MS MARCO to pairs: 8 hard negatives",
  },
  "full_rows": {"full rows: step", "full rows: encode"},
  "packed": {"packed train step"},
  "chunks": {"chunked train step"},
  "ring": {"ring loss and gradient"},
  "encode": {"encode", "encode: text in"},
  "pipeline": {"input pipeline: packed", "input pipeline: padded"},
  "tokenise": {
    "JSONL to token store: all cores",
    "JSONL to token store: one process",
    "packed batches: five tasks",
    "packed batches: one store",
  },
  "doctor": {"doctor"},
  "checkpoint": {
    "checkpoint: save until on disk",
    "checkpoint: training waits",
    "checkpoint: restore",
  },
}
FLAGS = {
  "community": ["--megabytes=0.1"],
  "labelled": ["--passages=200"],
  "full_rows": ["--alone", "--encode_rows=8"],
  "packed": ["--alone"],
  "chunks": ["--chunks=2"],
  "ring": ["--batch_sizes=16", "--width=8", "--tile=2"],
  "encode": ["--alone", "--texts=8"],
  "tokenise": ["--pairs=64", "--batch_size=8", "--batches=1"],
  "doctor": ["--pairs=64"],
  "pipeline": ["--examples=64", "--batch_size=8", "--batches=1"],
}


@pytest.mark.parametrize("name", EXPECTED)
def test_prints_its_figures(name, capsys):
  if name == "community":
    for library in ("selectolax", "rensa"):
      pytest.importorskip(library, reason=f"{library} is not installed: [data]")
  module = importlib.import_module(f"benchmarks.{name}")
  module.main(["--size=tiny", "--repeats=2", *FLAGS.get(name, [])])
  lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
  assert {line["figure"] for line in lines} == EXPECTED[name]
  for line in lines:
    assert line["value"] > 0 and line["unit"]
    assert line["versions"]["jax"] and line["hardware"]["devices"]


def test_memory_of_an_import_is_watched(capsys, tmp_path):
  pytest.importorskip("safetensors", reason="needs the extra interop")
  if not pathlib.Path("/proc/self/status").is_file():
    pytest.skip("there is no /proc here")
  module = importlib.import_module("benchmarks.import_memory")
  module.main(
    ["--layers=1", "--width=64", "--mlp_dim=64", "--shard_mib=4"]
    + ["--dtype=float32", f"--folder={tmp_path}"]
  )
  (line,) = map(json.loads, capsys.readouterr().out.splitlines())
  assert line["figure"] == "import: memory" and line["value"] > 0
  assert line["largest_file"] < line["all_files"]
  assert not list(tmp_path.iterdir())
