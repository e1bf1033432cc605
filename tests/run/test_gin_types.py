"""Values that no parameter takes are told before anything runs."""

import pytest

from gtr_jax.run import gin_config, gin_types


@pytest.mark.parametrize(
  ("binding", "said"),
  [
    ("NUM_LAYERS='two'", "NUM_LAYERS is 'two', due is a whole number"),
    ("SEED=1.5", "SEED is 1.5, due is a whole number"),
    ("BATCH_SIZE=True", "BATCH_SIZE is True, due is a whole number"),
    ("LEARNING_RATE='high'", "LEARNING_RATE is 'high', due is a number"),
    (
      "MIXTURE_OR_TASK_NAME=None",
      "MIXTURE_OR_TASK_NAME is None, due is a text or a list or a mapping",
    ),
    ("TASK_PROMPTS='query: '", "TASK_PROMPTS is 'query: ', due is a mapping"),
    ("VOCABULARY=3", "VOCABULARY is 3, due is a text or None"),
    ("ON_BAD_LINE='stop'", "ON_BAD_LINE is 'stop', due is 'error' or 'skip'"),
    (
      "TEMPERATURE=0.05",
      "due is @temperature.Fixed() or @temperature.Learned()",
    ),
    ("temperature.Fixed.value='hot'", "temperature.Fixed.value is 'hot'"),
  ],
)
def test_what_a_parameter_cannot_take_is_refused(binding, said):
  gin_config.parse(["experiments/demo_stage1.gin"], ["MODEL_DIR='x'", binding])
  with pytest.raises(ValueError) as caught:
    gin_types.check()
  assert said in str(caught.value)


@pytest.mark.parametrize(
  "binding",
  [
    "LEARNING_RATE=1",  # A whole number is a number.
    "EVAL_DATA=None",
    "EARLY_STOPPING=3",
    "ACTIVATION_DTYPE='bfloat16'",
    "SCHEDULE=@schedules.cosine()",
    "MLP_DIM=%EMBED_DIM",
  ],
)
def test_what_it_takes_passes(binding):
  gin_config.parse(["experiments/demo_stage1.gin"], ["MODEL_DIR='x'", binding])
  gin_types.check()


@pytest.mark.parametrize(
  "path",
  sorted((gin_config.CONFIG_ROOT / "experiments").glob("*.gin")),
  ids=lambda path: path.stem,
)
def test_every_experiment_passes(path):
  gin_config.parse([f"experiments/{path.name}"], ["MODEL_DIR='x'"])
  gin_types.check()
