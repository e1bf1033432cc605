"""What a model directory tells a model card."""

from gtr_jax.run import gin_config, model_facts

CONFIG = """\
from __gin__ import dynamic_registration
from gtr_jax.training import optimizers

BATCH_SIZE = 128
EMBED_DIM = 256
INITIAL_CHECKPOINT_PATH = '/home/someone/secret/stage1/'
MIXTURE_OR_TASK_NAME = '/home/someone/mined.jsonl, /data/faq.jsonl.gz'
MARGIN = None
OPTIMIZER = @optimizers.adafactor()
TASK_FEATURE_LENGTHS = {'passage': 64, 'query': 32}
TRAIN_STEPS = 100
"""


def test_settings_of_the_run_without_this_machines_folders(tmp_path):
  (tmp_path / "config.gin").write_text(CONFIG)
  read = model_facts.read(tmp_path, "0123")
  assert read.name == tmp_path.name
  assert read.training == {
    "INITIAL_CHECKPOINT_PATH": "stage1",
    "MIXTURE_OR_TASK_NAME": "mined.jsonl, faq.jsonl.gz",
    "TRAIN_STEPS": 100,
    "BATCH_SIZE": 128,
    "TASK_FEATURE_LENGTHS": {"passage": 64, "query": 32},
    "OPTIMIZER": "optimizers.adafactor",
  }
  assert read.results == () and read.num_others == 0


def test_a_model_that_was_not_trained_here_has_none(tmp_path):
  assert model_facts.read(tmp_path, "0123").training == {}
  (tmp_path / "config.gin").write_text("EMBED_DIM = 256\n")
  assert model_facts.read(tmp_path, "0123").training == {}


def test_macros_are_told_as_they_are_set(tmp_path):
  path = tmp_path / "config.gin"
  path.write_text("A = 3\nB = %A\n")
  found = gin_config.macros_of_file(path)
  assert found["A"] == 3 and set(found) == {"A", "B"}
