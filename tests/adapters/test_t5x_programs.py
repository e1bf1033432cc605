"""`t5x.train`, `t5x.eval` and `t5x.infer` themselves, on a small task.

They run where T5X's source is on the path (docs/t5x.md), each in a process of
its own.
"""

import importlib.util
import json
import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest

import gtr_jax
from gtr_jax.data import vocabulary
from gtr_jax.run import gin_config, import_

ROOT = pathlib.Path(__file__).parents[2]
WORDS = ["json", "dates", "trees", "music", "rivers", "bread", "stars", "glass"]
LENGTHS = {"inputs": 32, "targets": 48}  # No text is cut.
SIZES = {
  "NUM_LAYERS": 1,
  "EMBED_DIM": 16,
  "NUM_HEADS": 2,
  "HEAD_DIM": 8,
  "MLP_DIM": 32,
  "PROJECTION_DIM": 8,
  "NUM_EMBEDDINGS": 384,
  "ACTIVATION_DTYPE": "float32",
}
pytestmark = pytest.mark.skipif(
  importlib.util.find_spec("t5x") is None,
  reason="T5X is not installed; it is on no package index",
)


def pairs():
  for number in range(48):
    first, second = WORDS[number % 8], WORDS[number // 8]
    yield {
      "query": f"what is {first} to {second}",
      "positive": f"{first} and {second} are told about here",
      "query_id": f"q{number}",
      "positive_ids": [f"p{number}"],
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """GTR_DATA_DIR with the files of the task community_qa, and a vocabulary."""
  path = tmp_path_factory.mktemp("t5x")
  lines = [json.dumps(pair) + "\n" for pair in pairs()]
  (path / "community_qa").mkdir()
  (path / "community_qa" / "pairs.jsonl").write_text("".join(lines))
  vocabulary.save(vocabulary.train(lines, 300), path)
  return path


def t5x(program, folder, files, **macros):
  """Runs a program of T5X; its log."""
  macros = {**SIZES, "MIXTURE_OR_TASK_NAME": "community_qa", **macros}
  environment = {
    **os.environ,
    "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}",
    "GTR_DATA_DIR": str(folder),
    "GTR_VOCABULARY": str(folder / vocabulary.MODEL_FILE),
    "JAX_PLATFORMS": "cpu",
  }
  command = [sys.executable, "-m", "benchmarks.stand_ins", f"t5x.{program}"]
  command += [f"--gin_search_paths={gin_config.CONFIG_ROOT}"]
  command += [f"--gin_file={file}" for file in files]
  command += [f"--gin.{name}={value!r}" for name, value in macros.items()]
  done = subprocess.run(
    command, env=environment, cwd=folder, capture_output=True, text=True
  )
  assert done.returncode == 0, done.stderr[-4000:]
  return done.stderr


@pytest.fixture(scope="module")
def trained(folder):
  """(model directory of T5X after 20 steps, log of the training)"""
  log = t5x(
    "train",
    folder,
    ["t5x/models/gtr_tiny.gin", "t5x/runs/pretrain.gin"],
    MODEL_DIR=str(folder / "model"),
    TASK_FEATURE_LENGTHS=LENGTHS,
    TRAIN_STEPS=20,
    BATCH_SIZE=16,
    NUM_CHUNKS=2,
    WARMUP_STEPS=2,
    LEARNING_RATE=0.03,
    CHECKPOINT_PERIOD=10,
    EVAL_PERIOD=10,
    EVAL_STEPS=1,
    EVAL_SPLIT="train",
    SHUFFLE_SEED=1,
  )
  return folder / "model", log


def written(folder, **macros):
  """The lines that `t5x.infer` writes."""
  t5x(
    "infer",
    folder,
    ["t5x/models/gtr_tiny.gin", "t5x/runs/infer.gin"],
    INFER_OUTPUT_DIR=str(folder / "inferred"),
    TASK_FEATURE_LENGTHS=LENGTHS,
    BATCH_SIZE=32,
    **macros,
  )
  (path,) = (folder / "inferred").glob("*.jsonl-00000-of-00001")
  return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.slow
def test_the_loss_falls(trained):
  _, log = trained
  found = re.findall(r"\[(\d+)\] collection=train .*?\bloss=([\d.]+)", log)
  losses = {int(step): float(loss) for step, loss in found}
  assert losses[20] < 0.8 * losses[10]
  assert re.search(r"collection=training_eval/community_qa accuracy=", log)


@pytest.mark.slow
def test_inferred_embeddings_are_those_of_the_imported_model(folder, trained):
  checkpoint = str(trained[0] / "checkpoint_20")
  lines = written(folder, CHECKPOINT_PATH=checkpoint, INFERENCE_MODE="pair")
  assert len(lines) == 48  # The last batch is not full.
  flags = [
    f"--checkpoint={checkpoint}",
    f"--output={folder / 'imported'}",
    f"--vocabulary={folder / vocabulary.MODEL_FILE}",
  ]
  assert import_.main(["--format=t5x", *flags]) == 0
  encoder = gtr_jax.load(str(folder / "imported"))
  due = {
    "query": encoder.encode_queries([pair["query"] for pair in pairs()]),
    "passage": encoder.encode_passages([pair["positive"] for pair in pairs()]),
  }
  assert [line["inputs"]["query_id"] for line in lines] == [
    pair["query_id"] for pair in pairs()
  ]
  for tower, embeddings in due.items():
    actual = [line["aux"][f"{tower}_embeddings"] for line in lines]
    np.testing.assert_allclose(actual, embeddings, atol=1e-5)
  cosines = np.sum(due["query"] * due["passage"], axis=1)
  np.testing.assert_allclose(
    [line["score"] for line in lines], cosines, atol=1e-5
  )


@pytest.mark.slow
def test_the_evaluation_of_t5x(folder, trained):
  t5x(
    "eval",
    folder,
    ["t5x/models/gtr_tiny.gin", "t5x/runs/eval.gin"],
    CHECKPOINT_PATH=str(trained[0] / "checkpoint_20"),
    EVAL_OUTPUT_DIR=str(folder / "evaluated"),
  )
  (path,) = (folder / "evaluated").rglob("community_qa-metrics.jsonl")
  measures = json.loads(path.read_text().splitlines()[-1])
  assert measures["step"] == 20
  assert measures["recall@100"] == 1  # There are 48 passages.
  assert 0 < measures["accuracy"] <= measures["mrr@10"] < 1


@pytest.mark.slow
def test_the_second_stage_goes_on_from_the_first(folder, trained):
  log = t5x(
    "train",
    folder,
    ["t5x/models/gtr_tiny.gin", "t5x/runs/finetune.gin"],
    MODEL_DIR=str(folder / "second"),
    INITIAL_CHECKPOINT_PATH=str(trained[0] / "checkpoint_20"),
    TASK_FEATURE_LENGTHS=LENGTHS,
    INITIAL_STEP=20,
    TRAIN_STEPS=22,
    BATCH_SIZE=16,
    WARMUP_STEPS=1,
    NUM_NEGATIVES=1,
  )
  assert "Starting main loop over steps 20-22" in log
  assert (folder / "second" / "checkpoint_22").is_dir()


@pytest.mark.slow
def test_all_files_parse(folder):
  """By T5X's reading of gin: every size, every run."""
  code = (
    "import glob, sys\n"
    "from benchmarks import stand_ins\n"
    "stand_ins.install()\n"
    "import gin\n"
    "from t5x.train import train\n"
    "from t5x.eval import evaluate\n"
    "from t5x.infer import infer, write_inferences_to_file\n"
    "from t5x import train as program\n"
    "root = sys.argv[1]\n"
    "for path in (root, *program._DEFAULT_GIN_SEARCH_PATHS):\n"
    "  gin.add_config_file_search_path(path)\n"
    "models = glob.glob(root + '/t5x/models/*.gin')\n"
    "other = ['models/gtr_t5_1_1_xl.gin', 'models/separate_towers.gin',"
    " 't5x/model.gin']\n"
    "for files in [*([model] for model in models), other]:\n"
    "  for run in ('pretrain', 'finetune', 'eval', 'infer'):\n"
    "    gin.clear_config()\n"
    "    gin.parse_config_files_and_bindings([*files,"
    " f't5x/runs/{run}.gin'], [], finalize_config=False)\n"
    "    model = gin.query_parameter('%MODEL').scoped_configurable_fn()\n"
    "    print(len(models), type(model).__name__, model.module.__class__)\n"
  )
  environment = {
    **os.environ,
    "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}",
    "GTR_VOCABULARY": str(folder / vocabulary.MODEL_FILE),
    "GTR_DATA_DIR": str(folder),
  }
  done = subprocess.run(
    [sys.executable, "-c", code, str(gin_config.CONFIG_ROOT)],
    env=environment,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr[-4000:]
  lines = done.stdout.splitlines()
  assert len(lines) == 7 * 4
  assert set(lines) == {
    "6 DualEncoderModel <class 'gtr_jax.models.dual_encoder.DualEncoder'>"
  }
