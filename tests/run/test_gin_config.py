"""gin files in T5X's style, and all that gin would take in silence."""

import gin
import numpy as np
import pytest

from gtr_jax.run import cli, gin_config
from gtr_jax.training import schedules

EXPERIMENTS = sorted((gin_config.CONFIG_ROOT / "experiments").glob("*.gin"))
# Promised for every training experiment.
MACROS = {
  "MODEL_DIR",
  "TRAIN_STEPS",
  "BATCH_SIZE",
  "SEED",
  "CHECKPOINT_PERIOD",
  "EVAL_PERIOD",
  "MIXTURE_OR_TASK_NAME",
  "TASK_FEATURE_LENGTHS",
  "LEARNING_RATE",
  "NUM_CHUNKS",
  "INITIAL_CHECKPOINT_PATH",
  "DROPOUT_RATE",
}


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_every_experiment_needs_a_model_dir_and_nothing_else(path):
  name = f"experiments/{path.name}"
  with pytest.raises(ValueError, match="gin: MODEL_DIR must be set"):
    gin_config.parse([name], [])
  gin_config.parse([name], ["MODEL_DIR='x'"])
  assert set(gin_config.macro_names()) >= MACROS


@pytest.mark.parametrize(
  ("size", "stage", "steps"),
  [
    (size, stage, steps)
    for size in ("base", "large", "xl", "xxl")
    for stage, steps in (("pretrain", 800_000), ("finetune", 20_000))
  ],
)
def test_the_papers_stages(size, stage, steps):
  gin_config.parse([f"experiments/gtr_{size}_{stage}.gin"], ["MODEL_DIR='x'"])
  value = gin_config.macro_value
  assert value("TRAIN_STEPS") == steps
  assert value("BATCH_SIZE") == 2048
  assert value("LEARNING_RATE") == 1e-3
  assert value("TASK_FEATURE_LENGTHS") == {"query": 64, "passage": 256}
  assert value("NUM_EMBEDDINGS") == 32_128
  assert value("DROPOUT_RATE") == 0.0


def test_command_line_overrides_files_and_later_files_earlier_ones(tmp_path):
  own = tmp_path / "own.gin"
  own.write_text("BATCH_SIZE = 3\nSEED = 5\n")
  gin_config.parse(
    ["experiments/demo_stage1.gin", str(own)],
    ["SEED=7", "MODEL_DIR='x'"],
  )
  assert gin_config.macro_value("BATCH_SIZE") == 3
  assert gin_config.macro_value("SEED") == 7


def test_search_paths(tmp_path):
  (tmp_path / "mine.gin").write_text(
    "include 'experiments/demo_stage1.gin'\nSEED = 9\n"
  )
  gin_config.parse(["mine.gin"], ["MODEL_DIR='x'"], [str(tmp_path)])
  assert gin_config.macro_value("SEED") == 9


@pytest.mark.parametrize(
  ("bindings", "said"),
  [
    (["BATCH_SIZ=3"], "did you mean BATCH_SIZE"),
    (["temperature.Fixed.valu=1"], "did you mean value"),
    (["temperatur.Fixed.value=1"], "did you mean temperature.Fixed"),
    (["OPTIMIZER=@optimizers.adamx()"], "optimizers.adamw"),
    (["SCHEDULE=%SHEDULE"], "SHEDULE must be set"),
    (["BATCH_SIZE=many"], "no gin value"),
    (["MODEL_DIR=/tmp/x"], "strings need quotes"),
    (["BATCH_SIZE"], "NAME=VALUE"),
    (["BATCH_SIZE="], "NAME=VALUE"),
  ],
  ids=str,
)
def test_mistakes_are_one_line_with_the_nearest_name(bindings, said):
  with pytest.raises(ValueError) as caught:
    gin_config.parse(
      ["experiments/demo_stage1.gin"], ["MODEL_DIR='x'", *bindings]
    )
  assert said in str(caught.value)
  assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
  ("text", "said"),
  [
    ("X = ", "gin"),
    ("from gtr_jax.nowhere import x\n", "nowhere"),
    ("include 'nowhere.gin'\n", "nowhere.gin"),
    ("import numpy.nothing\n", "nothing"),
  ],
  ids=str,
)
def test_a_broken_file_is_one_line(tmp_path, text, said):
  path = tmp_path / "broken.gin"
  path.write_text(text)
  with pytest.raises(ValueError) as caught:
    gin_config.parse([str(path)], [])
  assert said in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_that_is_not_there_lists_those_that_are():
  with pytest.raises(ValueError, match="experiments/demo_stage1.gin"):
    gin_config.parse(["experiments/demo_stage3.gin"], [])


def test_t5x_flags_become_arguments():
  assert cli.split_gin_bindings(["--gin.A.b=1", "--gin_file=x", "c"]) == [
    "--gin_bindings=A.b=1",
    "--gin_file=x",
    "c",
  ]


def test_a_macro_of_a_file_is_built(tmp_path):
  path = tmp_path / "config.gin"
  path.write_text(
    "from __gin__ import dynamic_registration\n"
    "from gtr_jax.objectives import temperature\n"
    "MODEL = @temperature.Fixed()\ntemperature.Fixed.value = 0.5\n"
  )
  assert gin_config.macro_of_file(path, "MODEL").value == 0.5
  with pytest.raises(ValueError, match="sets no OTHER"):
    gin_config.macro_of_file(path, "OTHER")


@pytest.mark.parametrize("name", ["linear", "cosine", "rsqrt"])
def test_macros_reach_every_schedule_that_ends(name):
  gin_config.parse(
    ["experiments/demo_stage1.gin"],
    [
      "MODEL_DIR='x'",
      f"SCHEDULE=@schedules.{name}()",
      *("LEARNING_RATE=0.5", "WARMUP_STEPS=10"),
      *("INITIAL_STEP=1000", "TRAIN_STEPS=1100"),
    ],
  )
  schedule = gin_config.call(getattr(schedules, name))
  np.testing.assert_allclose(schedule(1010), 0.5)
  assert 0 < schedule(1099) < 0.5
  assert schedule(1100) == 0


def test_an_error_of_the_system_keeps_the_name_of_its_file(tmp_path):
  def open_missing():
    (tmp_path / "missing").read_text()

  gin_config.parse(["experiments/demo_stage1.gin"], ["MODEL_DIR='x'"])
  with pytest.raises(FileNotFoundError) as caught:
    gin_config.call(gin.external_configurable(open_missing))
  assert caught.value.filename == str(tmp_path / "missing")
