"""`gtr train`: killed, stopped, broken and resumed; mistakes are one line."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time
from typing import Any

import jax
import numpy as np
import pytest

from gtr_jax.checkpoints import manager
from gtr_jax.run import model_directory, train, training_log

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
  "DROPOUT_RATE": 0.1,
  "BATCH_SIZE": 8,
  "TRAIN_STEPS": 8,
  "WARMUP_STEPS": 2,
  "LEARNING_RATE": 0.01,
  "TASK_FEATURE_LENGTHS": '{"query": 8, "passage": 12}',
  "NUM_NEGATIVES": 1,
  "LOG_PERIOD": 1,
  "CHECKPOINT_PERIOD": 3,
  "EVAL_PERIOD": 4,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
  """Pairs and a collection: word i of a made-up language goes with word i."""
  folder = tmp_path_factory.mktemp("data")
  texts = [
    (f"what is {chr(97 + i) * 4}", f"{chr(97 + i) * 4} is the thing {i}")
    for i in range(PAIRS)
  ]
  with (folder / "pairs.jsonl").open("w") as file:
    for i, (query, passage) in enumerate(texts):
      negatives = [texts[(i + 1 + k) % PAIRS][1] for k in range(i % 3)]
      record = {"query": query, "positive": passage, "negatives": negatives}
      file.write(json.dumps(record) + "\n")
  beir = folder / "beir"
  (beir / "qrels").mkdir(parents=True)
  with (beir / "corpus.jsonl").open("w") as file:
    for i, (_, passage) in enumerate(texts):
      file.write(json.dumps({"_id": f"d{i}", "title": "", "text": passage}))
      file.write("\n")
  with (beir / "queries.jsonl").open("w") as file:
    for i, (query, _) in enumerate(texts):
      file.write(json.dumps({"_id": f"q{i}", "text": query}) + "\n")
  rows = [f"q{i}\td{i}\t1\n" for i in range(PAIRS)]
  (beir / "qrels" / "dev.tsv").write_text("".join(rows))
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


def params_of(model_dir, step):
  return jax.tree.leaves(manager.read_params(model_dir, step))


def assert_same_to_the_bit(a, b, step):
  for x, y in zip(params_of(a, step), params_of(b, step), strict=True):
    np.testing.assert_array_equal(np.asarray(x), np.asarray(y))


def lines(model_dir):
  """Everything in the log but the wall clock."""
  records = [
    json.loads(line)
    for line in (model_dir / "metrics.jsonl").read_text().splitlines()
  ]
  for record in records:
    record.pop("examples_per_second", None)
  return records


def start(argv):
  environment = {**os.environ, "JAX_NUM_CPU_DEVICES": "1"}
  return subprocess.Popen(
    [sys.executable, "-m", "gtr_jax.run.train", "--json", *argv],
    env=environment,
    cwd=pathlib.Path(__file__).parents[2],
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


def wait_for_line(process, model_dir, step):
  """Until the log says that `step` was made; the process still runs."""
  path = model_dir / "metrics.jsonl"
  deadline = time.monotonic() + 120
  while process.poll() is None and time.monotonic() < deadline:
    if path.exists() and f'{{"step": {step}, ' in path.read_text():
      return
    time.sleep(0.005)
  raise AssertionError(process.communicate())


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
  """A run that nothing disturbed, in a process with one device."""
  model_dir = tmp_path_factory.mktemp("whole") / "model"
  process = start(arguments(data, model_dir))
  output, errors = process.communicate()
  assert process.returncode == 0, errors
  return model_dir, json.loads(output.splitlines()[-1])


def test_leaves_a_model_directory_and_says_what_it_did(whole):
  model_dir, result = whole
  assert result["model"] == str(model_dir)
  assert result["step"] == 8
  assert result["loss"] == training_log.read(model_dir, "train")[-1]["loss"]
  assert manager.available_steps(model_dir)[-1] == 8
  evals = training_log.read(model_dir, "eval")
  assert [record["step"] for record in evals] == [4, 8]
  best = max(evals, key=lambda record: (record["ndcg@10"], -record["step"]))
  assert manager.best_step(model_dir) == best["step"]
  assert list((model_dir / "tensorboard").iterdir())
  loaded = model_directory.load(model_dir)
  assert loaded.model.query_encoder.encoder.num_layers == 1
  assert "BATCH_SIZE" in (model_dir / "config.gin").read_text()


@pytest.mark.parametrize("at", [[2], [4, 7]], ids=str)
def test_killed_at_any_step_it_ends_in_the_same_parameters(
  data, whole, tmp_path, at
):
  model_dir = tmp_path / "model"
  for step in at:
    process = start(arguments(data, model_dir))
    wait_for_line(process, model_dir, step)
    process.send_signal(signal.SIGKILL)
    process.communicate()
  process = start(arguments(data, model_dir))
  _, errors = process.communicate()
  assert process.returncode == 0, errors
  assert_same_to_the_bit(whole[0], model_dir, 8)
  assert lines(model_dir) == lines(whole[0])


def test_sigterm_saves_and_ends_well(data, whole, tmp_path):
  model_dir = tmp_path / "model"
  process = start(arguments(data, model_dir, TRAIN_STEPS=100_000))
  wait_for_line(process, model_dir, 5)
  process.send_signal(signal.SIGTERM)
  output, errors = process.communicate()
  assert process.returncode == 0, errors
  step = json.loads(output.splitlines()[-1])["step"]
  assert "SIGTERM: saving" in errors
  assert manager.available_steps(model_dir)[-1] == step < 100_000


@pytest.fixture(scope="module")
def short(data, tmp_path_factory):
  """A short run in this process, with its eight devices."""
  model_dir = tmp_path_factory.mktemp("short") / "model"
  macros = {"TRAIN_STEPS": 2, "EVAL_DATA": None}
  assert train.main(arguments(data, model_dir, **macros)) == 0
  return model_dir


def test_a_finished_run_is_not_run_again(data, short, capsys):
  before = lines(short)
  macros = {"TRAIN_STEPS": 2, "EVAL_DATA": None}
  assert train.main(["--json", *arguments(data, short, **macros)]) == 0
  result = json.loads(capsys.readouterr().out.splitlines()[-1])
  assert result["step"] == 2 and result["loss"] is None
  assert lines(short) == before


def test_a_stage_starts_from_the_last_ones_parameters(data, short, tmp_path):
  model_dir = tmp_path / "second"
  macros = {
    "TRAIN_STEPS": 0,
    "INITIAL_CHECKPOINT_PATH": f'"{short}"',
    "EVAL_DATA": None,
  }
  assert train.main(arguments(data, model_dir, **macros)) == 0
  assert_same_to_the_bit_across(short, 2, model_dir, 0)
  one, two = (
    (path / "vocabulary" / "sentencepiece.model").read_bytes()
    for path in (short, model_dir)
  )
  assert one == two


def assert_same_to_the_bit_across(a, step_a, b, step_b):
  pairs = zip(params_of(a, step_a), params_of(b, step_b), strict=True)
  for x, y in pairs:
    np.testing.assert_array_equal(np.asarray(x), np.asarray(y))


def test_one_step_of_a_model_directory_is_a_start(data, short, tmp_path):
  step = short / "checkpoints" / "2"
  macros = {
    "TRAIN_STEPS": 0,
    "INITIAL_CHECKPOINT_PATH": f'"{step}"',
    "EVAL_DATA": None,
  }
  assert train.main(arguments(data, tmp_path / "from", **macros)) == 0
  assert_same_to_the_bit_across(short, 2, tmp_path / "from", 0)


def test_an_encoder_of_another_depth_is_refused(data, short, tmp_path, capsys):
  macros = {
    "NUM_LAYERS": 2,
    "INITIAL_CHECKPOINT_PATH": f'"{short}"',
    "EVAL_DATA": None,
  }
  assert train.main(arguments(data, tmp_path / "deeper", **macros)) == 2
  assert "has 1 encoder layers, the model 2" in capsys.readouterr().err


def test_numbering_from_t5s_last_step(data, short, tmp_path):
  model_dir = tmp_path / "numbered"
  macros = {
    "INITIAL_STEP": 999_900,
    "TRAIN_STEPS": 999_903,
    "WARMUP_STEPS": 0,
    "EVAL_DATA": None,
  }
  assert train.main(arguments(data, model_dir, **macros)) == 0
  records = training_log.read(model_dir, "train")
  assert [record["step"] for record in records] == [999_901, 999_902, 999_903]
  rates = [record["learning_rate"] for record in records]
  np.testing.assert_allclose(rates, [0.01, 0.02 / 3, 0.01 / 3], rtol=1e-5)
  norms = [record["param_norm"] for record in records]
  assert len(set(norms)) == 3  # The learning rate reached the parameters.


def test_nan_stops_with_step_examples_and_last_good_checkpoint(
  data, tmp_path, capsys
):
  macros = {
    "LEARNING_RATE": 1e30,
    "WARMUP_STEPS": 1,
    "CHECKPOINT_PERIOD": 1,
    "EVAL_DATA": None,
  }
  model_dir = tmp_path / "model"
  assert train.main(arguments(data, model_dir, **macros)) == 1
  error = capsys.readouterr().err.strip().splitlines()[-1]
  assert "nan" in error or "inf" in error
  assert "examples" in error and "last good checkpoint: step" in error
  for leaf in params_of(model_dir, manager.available_steps(model_dir)[-1]):
    assert np.isfinite(np.asarray(leaf)).all()
  batch = json.loads((model_dir / "bad_batch.json").read_text())
  assert len(batch["example_ids"]) == SMALL["BATCH_SIZE"]
  assert f"step {batch['update']}: " in error


@pytest.fixture(scope="module")
def variant(data, tmp_path_factory):
  """Runs of a model with everything unusual, by number of model shards."""
  own = tmp_path_factory.mktemp("own") / "variant.gin"
  own.write_text(
    "from __gin__ import dynamic_registration\n"
    "from gtr_jax.layers import mlp\n"
    "include 'experiments/gtr_base_finetune.gin'\n"
    "include 'models/separate_towers.gin'\n"
    "include 'models/learned_temperature.gin'\n"
    "MLP_ACTIVATIONS = (@mlp.gelu_gate, @mlp.linear_gate)\n"
  )

  def losses(model_parallel, num_chunks):
    model_dir = tmp_path_factory.mktemp("variant") / "model"
    macros = {
      "MODEL_PARALLEL": model_parallel,
      "NUM_CHUNKS": num_chunks,
      "DROPOUT_RATE": 0.0,
      "TRAIN_STEPS": 3,
      "EVAL_DATA": None,
    }
    argv = arguments(data, model_dir, **macros)
    argv[0] = f"--gin_file={own}"
    assert train.main(argv) == 0
    records = training_log.read(model_dir, "train")
    return [record["loss"] for record in records], model_dir

  return losses


def test_shards_and_chunks_change_no_loss_of_gated_separate_towers(variant):
  plain, model_dir = variant(1, 1)
  sharded, _ = variant(2, 2)
  np.testing.assert_allclose(sharded, plain, rtol=1e-4)
  loaded = model_directory.load(model_dir)
  assert set(loaded.params) == {
    "query_encoder",
    "passage_encoder",
    "temperature",
  }


def test_goes_on_with_other_meshes_loops_and_tiles(data, tmp_path):
  """To the same losses: nothing of it is in the checkpoint."""
  shared = {
    "NUM_LAYERS": 2,
    "DROPOUT_RATE": 0.0,
    "EVAL_DATA": None,
    "CHECKPOINT_PERIOD": 1000,
    "ACCUMULATED_BATCHES": 2,
  }
  spread = ["meshes/fsdp.gin", "meshes/two_slices.gin"]
  tensor = ["meshes/tensor_parallel.gin"]
  tiled: dict[str, Any] = {"SCORE_TILE": 2, "REMAT": '"dots"'}
  runs: list[tuple[str, int, list[str], dict[str, Any]]] = [
    ("changing", 3, [], {}),
    ("changing", 5, spread, {"NUM_CHUNKS": 2}),
    ("changing", 8, tensor, tiled),
    ("plain", 8, [], {"SCORE_TILE": None}),
  ]
  for name, last_step, meshes, macros in runs:
    argv = arguments(
      data,
      tmp_path / name,
      **shared,
      **macros,
      TRAIN_STEPS=last_step,
      SCHEDULE="@schedules.constant()",
    )
    argv[1:1] = [f"--gin_file={mesh}" for mesh in meshes]
    assert train.main(argv) == 0
  plain, changing = (
    [record["loss"] for record in training_log.read(tmp_path / name, "train")]
    for name in ("plain", "changing")
  )
  assert len(plain) == 8
  np.testing.assert_allclose(changing, plain, rtol=2e-4)


def test_early_stopping(data, tmp_path, capsys):
  macros = {
    "TRAIN_STEPS": 50,
    "EVAL_PERIOD": 1,
    "EARLY_STOPPING": 1,
    "LEARNING_RATE": 1e-9,  # No evaluation is better than the first.
  }
  model_dir = tmp_path / "model"
  assert train.main(arguments(data, model_dir, **macros)) == 0
  assert "early stop: no gain" in capsys.readouterr().err
  assert manager.available_steps(model_dir)[-1] < 50


@pytest.mark.parametrize(
  ("macros", "said"),
  [
    ({"BATCH_SISE": 4}, "BATCH_SIZE"),
    ({"BATCH_SIZE": 7}, "BATCH_SIZE is 7"),
    ({"BATCH_SIZE": 64}, "24 pairs"),
    ({"BATCH_SIZE": 0}, "BATCH_SIZE is 0"),
    ({"REMAT": '"all"'}, "none, dots, full"),
    ({"TOPOLOGY": '"v5e:4x4"'}, "16 devices; here are 8"),
    ({"TOPOLOGY": '"v5e"'}, "TOPOLOGY is 'v5e'"),
    ({"NUM_SLICES": 3}, "NUM_SLICES is 3"),
    ({"LOGICAL_AXIS_RULES": '(("width", "data"),)'}, "width"),
    ({"LOGICAL_AXIS_RULES": '(("embed", "date"),)'}, "date"),
    ({"ACCUMULATED_BATCHES": 0}, "ACCUMULATED_BATCHES is 0"),
    ({"ACTIVATION_DTYPE": '"float16"'}, "65,504"),
    ({"NUM_EMBEDDINGS": 20}, "vocabulary of 20 pieces"),
    ({"MIXTURE_OR_TASK_NAME": '"python_docs_stage3"'}, "python_docs_stage2"),
    ({"MIXTURE_OR_TASK_NAME": '"none.jsonl"'}, "none.jsonl"),
    ({"INITIAL_CHECKPOINT_PATH": '"nowhere"'}, "nowhere"),
    ({"EVAL_DATA": '"nowhere"'}, "nowhere"),
    ({"VOCABULARY": '"nowhere"'}, "nowhere"),
    ({"TASK_FEATURE_LENGTHS": '{"query": 8}'}, "passage"),
    ({"t5_encoder.T5Encoder.num_layer": 3}, "num_layers"),
    ({"t5_encoder.T5Encodr.num_layers": 3}, "T5Encoder"),
    ({"SCHEDULE": "@schedules.linnear()"}, "schedules.linear"),
    ({"MODEL_PARALLEL": 3}, "MODEL_PARALLEL is 3"),
    ({"HEAD_DIM": 0}, "head_dim is 0"),
    ({"DROPOUT_RATE": 1.5}, "dropout_rate is 1.5"),
    ({"NUM_CHUNKS": 0, "EVAL_DATA": None}, "NUM_CHUNKS is 0"),
    ({"NUM_NEGATIVES": -1}, "NUM_NEGATIVES to 0 or more"),
    ({"EARLY_STOPPING": 1}, "EVAL_DATA None"),
    ({"EARLY_STOPPING": 0}, "EARLY_STOPPING is 0"),
    ({"evaluation_during_training.Evaluation.measure": '"mrr"'}, "mrr@10"),
    ({"NUM_LAYERS": '"two"'}, "NUM_LAYERS is 'two'"),
  ],
  ids=str,
)
def test_mistakes_are_one_line_and_exit_2(
  data, short, tmp_path, capsys, macros, said
):
  if "NUM_CHUNKS" not in macros:
    macros = {"EVAL_DATA": None, **macros}
  status = train.main(arguments(data, tmp_path / "model", **macros))
  error = capsys.readouterr().err.strip().splitlines()
  assert status == 2
  assert said in error[-1] and error[-1].startswith("gtr train: ")
  assert "Traceback" not in "".join(error)


def test_bad_lines_stop_or_are_counted(data, tmp_path, capsys):
  bad = tmp_path / "bad.jsonl"
  good = (data / "pairs.jsonl").read_text()
  bad.write_text(good + '{"query": "no passage"}\nnot json\n')
  macros = {
    "MIXTURE_OR_TASK_NAME": f'"{bad}"',
    "TRAIN_STEPS": 0,
    "EVAL_DATA": None,
  }
  argv = arguments(data, tmp_path / "model", **macros)
  assert train.main(argv) == 2
  assert f"{bad}:25: " in capsys.readouterr().err
  assert train.main([*argv, "--on_bad_line=skip"]) == 0
  assert "skipped 2 lines of 26" in capsys.readouterr().err


def test_a_file_in_the_place_of_the_directory_is_said(data, tmp_path, capsys):
  path = tmp_path / "file"
  path.write_text("")
  assert train.main(arguments(data, path, EVAL_DATA=None)) == 2
  assert capsys.readouterr().err == f"gtr train: {path}: File exists\n"


def test_two_runs_in_one_directory_are_refused(data, tmp_path, capsys):
  with model_directory.locked(tmp_path):
    assert train.main(arguments(data, tmp_path, EVAL_DATA=None)) == 2
  assert "another process trains in it" in capsys.readouterr().err
  assert not (tmp_path / "vocabulary").exists()


def test_a_refused_run_leaves_the_vocabulary_alone(data, short, capsys):
  settings = short / "vocabulary" / "tokenizer.json"
  before = settings.read_text()
  argv = arguments(data, short, QUERY_PROMPT='"query: "', EVAL_DATA=None)
  assert train.main(argv) == 2
  assert "another MODEL_DIR" in capsys.readouterr().err
  assert settings.read_text() == before


def test_a_vocabulary_whose_saving_was_cut_short_is_saved_again(data, tmp_path):
  (tmp_path / "vocabulary").mkdir()
  (tmp_path / "vocabulary" / "sentencepiece.model").write_bytes(b"half")
  macros = {"TRAIN_STEPS": 0, "EVAL_DATA": None}
  assert train.main(arguments(data, tmp_path, **macros)) == 0
  assert model_directory.load(tmp_path).tokenizer is not None


def test_another_model_in_the_same_directory_is_refused(data, short, capsys):
  argv = arguments(data, short, TRAIN_STEPS=3, EMBED_DIM=16, EVAL_DATA=None)
  assert train.main(argv) == 2
  assert "another MODEL_DIR" in capsys.readouterr().err
