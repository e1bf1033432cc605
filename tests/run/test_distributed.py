"""Several processes train as one: same losses, killed, stopped, resumed.

The pods are those of `launch/local_pod.py`: CPU processes joined by gloo.
"""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from gtr_jax import partitioning
from gtr_jax.checkpoints import manager
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
  "EVAL_PERIOD": 6,
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


@pytest.fixture(scope="module")
def start(tmp_path_factory):
  """Starts pods; their output is one text."""
  environment = {
    **os.environ,
    "PYTHONPATH": str(ROOT),
    # What one pod has compiled serves the next.
    "JAX_COMPILATION_CACHE_DIR": str(tmp_path_factory.mktemp("compiled")),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
  }

  def started(processes, devices, argv):
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
      env=environment,
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
    )

  return started


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
def two(data, start, tmp_path_factory):
  """A run of two processes that nothing disturbed."""
  model_dir = tmp_path_factory.mktemp("two") / "model"
  status, output = finish(start(2, 1, arguments(data, model_dir)))
  assert status == 0, output
  return model_dir, output


def finish_after_signal(pod, model_dir, step, process, number):
  """Sends one process a signal once the log holds `step`; then `finish`."""
  lines = [pod.stdout.readline()]
  while f"process {process} has the id" not in lines[-1]:
    lines.append(pod.stdout.readline())
  log = model_dir / "metrics.jsonl"
  deadline = time.monotonic() + 300
  while f'{{"step": {step}, ' not in (log.read_text() if log.exists() else ""):
    assert pod.poll() is None and time.monotonic() < deadline, finish(pod)
    time.sleep(0.01)
  os.kill(int(lines[-1].split()[-1]), number)
  status, output = finish(pod)
  return status, "".join(lines) + output


def ends(output):
  """What each process said at its end: number → its lines about it."""
  found = re.findall(r"^\[(\d)\] gtr train: (?!waiting)(.*)$", output, re.M)
  return {int(number): line for number, line in found}


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


def test_only_process_0_speaks(two):
  _, output = two
  others = ("pod: ", "[1] gtr train: waiting ")  # The latter under load.
  lines = [line for line in output.splitlines() if not line.startswith(others)]
  assert lines and all(line.startswith("[0] ") for line in lines), output
  assert sum(line.startswith("[0] step 6: ") for line in lines) == 1
  assert sum(line.startswith('[0] {"model": ') for line in lines) == 1


def test_killed_the_others_say_so_and_the_restarted_end_in_the_same_bits(
  data, two, start, tmp_path
):
  model_dir = tmp_path / "model"
  argv = arguments(data, model_dir)
  for killed, step in ((1, 2), (0, 4)):
    pod = start(2, 1, argv)
    status, output = finish_after_signal(
      pod, model_dir, step, killed, signal.SIGKILL
    )
    assert status == 128 + signal.SIGKILL
    ((other, line),) = ends(output).items()
    assert other == 1 - killed
    assert f"process {killed} of 2" in line and "killed" in line
    assert "start the same command" in line
    assert "Traceback" not in output and "stack trace" not in output
  status, output = finish(start(2, 1, argv))
  assert status == 0, output
  assert lines_of(model_dir) == lines_of(two[0])
  for came, due in zip(params_of(model_dir), params_of(two[0]), strict=True):
    np.testing.assert_array_equal(came, due)


def lines_of(model_dir):
  """Everything in the log but the wall clock."""
  lines = (model_dir / "metrics.jsonl").read_text().splitlines()
  return [
    {k: v for k, v in json.loads(line).items() if k != "examples_per_second"}
    for line in lines
  ]


def params_of(model_dir):
  step = manager.available_steps(model_dir)[-1]
  return jax.tree.leaves(manager.read_params(model_dir, step))


def test_sigterm_to_one_saves_once_and_all_go_on_elsewhere(
  data, start, tmp_path
):
  """Stopped on 2 x 4 devices, resumed on 4 x 1 and on 1 x 8, other meshes."""
  settings = {
    "EVAL_DATA": None,
    "CHECKPOINT_PERIOD": 100_000,
    "SCHEDULE": "@schedules.constant()",
  }

  def argv(model_dir, last, **macros):
    macros = {**settings, "TRAIN_STEPS": last, **macros}
    return arguments(data, model_dir, **macros)

  model_dir, other = tmp_path / "model", tmp_path / "other"
  pod = start(2, 4, argv(model_dir, 100_000))
  status, output = finish_after_signal(pod, model_dir, 1, 1, signal.SIGTERM)
  assert status == 0, output
  assert output.count("SIGTERM came to a process: saving step") == 1
  (step,) = manager.available_steps(model_dir)
  assert f'"step": {step}, ' in output and '"stopped_by_signal": true' in output
  # The later file wins: parameters are spread over the four processes, of which
  # two and two read the same half of each batch.
  spread = argv(model_dir, step + 2, MODEL_PARALLEL=2)
  spread.append("--gin_file=meshes/fsdp.gin")
  status, output = finish(start(4, 1, spread))
  assert status == 0, output
  assert f"going on from step {step}" in output
  for folder in (model_dir, other):
    assert train.main(argv(folder, step + 4, MODEL_PARALLEL=2)) == 0
  came = numbers(model_dir, "train", "loss")
  due = numbers(other, "train", "loss")
  assert list(came) == list(due) == list(range(1, step + 5))
  np.testing.assert_allclose(list(came.values()), list(due.values()), rtol=1e-5)


def test_a_mistake_that_one_process_finds_ends_all(data, start, tmp_path):
  bad = tmp_path / "bad.jsonl"
  bad.write_text((data / "pairs.jsonl").read_text() + "not json\n")
  macros = {"MIXTURE_OR_TASK_NAME": f'"{bad}"', "EVAL_DATA": None}
  argv = arguments(data, tmp_path / "model", **macros)
  status, output = finish(start(2, 1, argv))
  assert status == 2
  said = ends(output)
  assert said[0].startswith(f"{bad}:25: ")
  assert said[1].startswith(f"process 0 of 2 ended: {bad}:25: ")


@pytest.mark.parametrize(
  ("flags", "said"),
  [
    (
      ["--process_count=2"],
      "--coordinator_address, --process_index is missing",
    ),
    (
      ["--coordinator_address=h:1", "--process_count=2", "--process_index=2"],
      "--process_index is 2, of 2",
    ),
    (
      ["--coordinator_address=h", "--process_count=2", "--process_index=0"],
      "HOST:PORT was due",
    ),
    (
      ["--gin.MODEL_DIR='gs://bucket/m'"],
      "MODEL_DIR is gs://bucket/m; a folder",
    ),
  ],
  ids=str,
)
def test_mistakes_are_one_line(data, tmp_path, capsys, flags, said):
  argv = arguments(data, tmp_path / "model", EVAL_DATA=None)
  assert train.main([*argv, *flags]) == 2
  (line,) = capsys.readouterr().err.splitlines()
  assert line.startswith("gtr train: ") and said in line


def test_one_process_reads_the_whole_batch(mesh):
  assert partitioning.process_share(mesh) == (0, 1)
