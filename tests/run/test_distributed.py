"""Several processes train as one: same losses, killed, stopped, resumed.

The pods are those of `launch/local_pod.py`: CPU processes joined by gloo.
"""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from gtr_jax.run import train, training_log

ROOT = pathlib.Path(__file__).parents[2]
PAIRS = 24
SMALL = {
  "NUM_LAYERS": 1,
  "EMBED_DIM": 8,
  "NUM_HEADS": 2,
  "HEAD_DIM": 4,
  "MLP_DIM": 8,
  "PROJECTION_DIM": 16,
  "NUM_EMBEDDINGS": 300,
  "ACTIVATION_DTYPE": '"float32"',
  "DROPOUT_RATE": 0.0,
  "BATCH_SIZE": 8,
  "TRAIN_STEPS": 6,
  "WARMUP_STEPS": 2,
  "LEARNING_RATE": 0.01,
  "TASK_FEATURE_LENGTHS": '{"query": 8, "passage": 12}',
  "NUM_NEGATIVES": 1,
  "LOG_PERIOD": 1,
  "CHECKPOINT_PERIOD": 2,
  "EVAL_PERIOD": 3,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
  """Pairs and a collection: word i of a made-up language goes with word i."""
  folder = tmp_path_factory.mktemp("data")
  words = [chr(97 + i) * 4 for i in range(PAIRS)]
  texts = [
    (f"what is {w}", f"{w} is the thing {i}") for i, w in enumerate(words)
  ]
  beir = folder / "beir"
  (beir / "qrels").mkdir(parents=True)
  pairs, corpus, queries, judgements = [], [], [], []
  for i, (query, passage) in enumerate(texts):
    negatives = [texts[(i + 1 + k) % PAIRS][1] for k in range(i % 3)]
    pairs.append({"query": query, "positive": passage, "negatives": negatives})
    corpus.append({"_id": f"d{i}", "title": "", "text": passage})
    queries.append({"_id": f"q{i}", "text": query})
    judgements.append(f"q{i}\td{i}\t1\n")
  for path, records in (
    (folder / "pairs.jsonl", pairs),
    (beir / "corpus.jsonl", corpus),
    (beir / "queries.jsonl", queries),
  ):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
  (beir / "qrels" / "dev.tsv").write_text("".join(judgements))
  return folder


def arguments(data, model_dir, **macros):
  macros = {
    **SMALL,
    "MODEL_DIR": f'"{model_dir}"',
    "MIXTURE_OR_TASK_NAME": f'"{data / "pairs.jsonl"}"',
    "EVAL_DATA": f'"{data / "beir"}"',
    **macros,
  }
  return [
    "--gin_file=experiments/gtr_base_finetune.gin",
    *(f"--gin.{name}={value}" for name, value in macros.items()),
  ]


def start(processes, devices, argv):
  """A pod at work; its output is one text."""
  return subprocess.Popen(
    [
      sys.executable,
      "launch/local_pod.py",
      f"--processes={processes}",
      f"--devices_per_process={devices}",
      "--",
      sys.executable,
      "-m",
      "gtr_jax.run.train",
      "--json",
      "--silence_seconds=8",
      *argv,
    ],
    cwd=ROOT,
    env={**os.environ, "PYTHONPATH": str(ROOT)},
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )


def finish(pod):
  """(exit status, output)"""
  output, _ = pod.communicate()
  return pod.returncode, output


@pytest.fixture(scope="module")
def alone(data, tmp_path_factory):
  """A run of this process and its eight devices."""
  model_dir = tmp_path_factory.mktemp("alone") / "model"
  assert train.main(arguments(data, model_dir)) == 0
  return model_dir


@pytest.fixture(scope="module")
def two(data, tmp_path_factory):
  """A run of two processes that nothing disturbed."""
  model_dir = tmp_path_factory.mktemp("two") / "model"
  status, output = finish(start(2, 1, arguments(data, model_dir)))
  assert status == 0, output
  return model_dir, output


def numbers(model_dir, kind, name):
  records = training_log.read(model_dir, kind)
  return {record["step"]: record[name] for record in records}


def assert_same(model_dir, other):
  for kind, name in (
    ("train", "loss"),
    ("train", "grad_norm"),
    ("train", "param_norm"),
    ("eval", "ndcg@10"),
  ):
    came = numbers(model_dir, kind, name)
    due = numbers(other, kind, name)
    assert came.keys() == due.keys()
    np.testing.assert_allclose(
      list(came.values()), list(due.values()), rtol=1e-5
    )


def test_two_processes_give_the_numbers_of_one(alone, two):
  assert_same(two[0], alone)


def test_four_processes_give_the_numbers_of_one(alone, data, tmp_path):
  model_dir = tmp_path / "model"
  status, output = finish(start(4, 2, arguments(data, model_dir)))
  assert status == 0, output
  assert_same(model_dir, alone)


def test_only_process_0_speaks(two):
  _, output = two
  lines = [line for line in output.splitlines() if not line.startswith("pod: ")]
  assert lines and all(line.startswith("[0] ") for line in lines), output
  assert sum(line.startswith("[0] step 6: ") for line in lines) == 1
  assert sum(line.startswith('[0] {"model": ') for line in lines) == 1
