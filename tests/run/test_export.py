import argparse
import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn

from gtr_jax.data import vocabulary
from gtr_jax.export import consumer_process
from gtr_jax.files import json_lines
from gtr_jax.run import export, gin_config, model_directory

CONFIG = """\
from __gin__ import dynamic_registration
from gtr_jax.models import dual_encoder
from gtr_jax.models import t5_encoder
from gtr_jax.models import text_encoder

MODEL = @dual_encoder.DualEncoder()
dual_encoder.DualEncoder.query_encoder = @text_encoder.TextEncoder()
text_encoder.TextEncoder:
  encoder = @t5_encoder.T5Encoder()
  vocab_size = 512
  embed_dim = 16
t5_encoder.T5Encoder:
  num_layers = 2
  num_heads = 2
  head_dim = 8
  mlp_dim = 32
  dtype = "bfloat16"
"""


def write_model(directory, with_vocabulary=True, step=7):
  directory.mkdir()
  config = directory / "config.gin"
  config.write_text(CONFIG)
  model = gin_config.macro_of_file(config, "MODEL")
  tokens = jnp.ones((1, 2), jnp.int32)
  params = nn.meta.unbox(model.init(jax.random.key(0), tokens, tokens))
  texts = ["export this model", "to a SavedModel that takes raw strings"] * 9
  tokenizer = vocabulary.train(texts, 300) if with_vocabulary else None
  model_directory.write(directory, CONFIG, params["params"], tokenizer, step)
  return directory


@pytest.fixture(scope="module")
def model(tmp_path_factory):
  return write_model(tmp_path_factory.mktemp("models") / "model")


def test_a_model_becomes_a_saved_model_without_noise(model, tmp_path):
  output = tmp_path / "out" / "export"
  done = subprocess.run(
    [sys.executable, "-m", "gtr_jax.run.export", f"--model={model}"]
    + ["--format=savedmodel", f"--output={output}", "--json"]
    + ["--query_length=8", "--passage_length=24"],
    capture_output=True,
    text=True,
    check=False,
  )
  assert (done.returncode, done.stderr) == (0, "")
  summary, last = done.stdout.splitlines()
  result = json.loads(last)
  assert result["path"] == str(output) and str(output) in summary
  assert result["checked"] is True
  assert 0 <= result["max_difference"] <= result["tolerance"] < 4e-3
  assert (output / "saved_model.pb").is_file()
  description = json.loads((output / "gtr_export.json").read_text())
  loaded = model_directory.load(model)
  assert description["checkpoint_hash"] == loaded.checkpoint_hash
  assert description["step"] == 7
  assert description["query_length"] == 8
  assert description["passage_length"] == 24
  assert list(output.parent.iterdir()) == [output]


def mistake(capsys, *arguments):
  """The one line that a mistake is told in."""
  status = export.main(["--format=savedmodel", *map(str, arguments)])
  output = capsys.readouterr()
  assert status == 2 and output.out == ""
  (line,) = output.err.splitlines()
  return line


@pytest.mark.parametrize(
  ("flags", "message"),
  [
    (["--step=3"], "has no checkpoint of step 3; it has [7]"),
    (["--query_length=0"], "query_length is 0: give 1 token or more"),
    (["--passage_length=-1"], "passage_length is -1"),
  ],
)
def test_mistakes_are_one_line(model, tmp_path, capsys, flags, message):
  output = tmp_path / "export"
  line = mistake(capsys, f"--model={model}", f"--output={output}", *flags)
  assert line.startswith("gtr export: ") and message in line
  assert not list(tmp_path.iterdir())


def test_a_place_that_is_taken_is_refused_first(tmp_path, capsys):
  (tmp_path / "precious").write_text("")
  line = mistake(capsys, "--model=nowhere", f"--output={tmp_path}")
  assert "choose another --output" in line
  assert [path.name for path in tmp_path.iterdir()] == ["precious"]


def test_a_model_without_a_vocabulary_is_refused(tmp_path, capsys):
  model = write_model(tmp_path / "model", with_vocabulary=False)
  line = mistake(capsys, f"--model={model}", f"--output={tmp_path / 'export'}")
  assert "has no vocabulary/" in line and "--vocabulary" in line


def test_a_missing_library_is_named(model, tmp_path, capsys, monkeypatch):
  monkeypatch.setitem(sys.modules, "gtr_jax.export.saved_model", None)
  line = mistake(capsys, f"--model={model}", f"--output={tmp_path / 'export'}")
  assert "pip install 'gtr_jax[export]'" in line
  assert not list(tmp_path.iterdir())


def test_results_of_the_checkpoint_go_along(model, tmp_path, capsys):
  loaded = model_directory.load(model)
  line = {"dataset": "toy", "split": "test", "measure": "mrr@10", "value": 0.5}
  hashes = (loaded.checkpoint_hash, "0123456789abcdef", None)
  records = [{**line, "checkpoint": checkpoint} for checkpoint in hashes]
  (ours, others) = (tmp_path / "ours.jsonl", tmp_path / "others.jsonl")
  json_lines.write(ours, records)
  json_lines.write(others, records[1:])
  parser = argparse.ArgumentParser()
  export.add_arguments(parser)
  flags = [f"--model={model}", "--output=x", "--format=savedmodel"]
  facts = export._original(
    parser.parse_args([*flags, f"--results={ours}"])
  ).facts
  assert facts.results == (records[0],) and facts.num_others == 2
  line = mistake(capsys, *flags, f"--results={ours}", f"--results={others}")
  assert (
    f"others.jsonl: holds no result of this checkpoint, {hashes[0]}" in line
  )


def test_help_waits_for_no_library():
  code = (
    "import sys; from gtr_jax.run import export\n"
    "try: export.main(['--help'])\n"
    "finally: assert not {'jax', 'tensorflow', 'flax'} & set(sys.modules)"
  )
  done = subprocess.run(
    [sys.executable, "-c", code], capture_output=True, text=True, check=True
  )
  assert "savedmodel" in done.stdout


def test_a_model_becomes_a_folder_for_sentence_transformers(
  model, tmp_path, capsys, monkeypatch
):
  pytest.importorskip("tokenizers", reason="needs the extra interop")
  pytest.importorskip("safetensors", reason="needs the extra interop")
  # As where the consumer is not installed, which is said.
  monkeypatch.setattr(consumer_process, "version", lambda *names: None)
  output = tmp_path / "folder"
  arguments = [f"--model={model}", f"--output={output}", "--json"]
  status = export.main(
    ["--format=sentence-transformers", *arguments]
    + ["--query_length=8", "--passage_length=24"]
  )
  *_, summary, last = capsys.readouterr().out.splitlines()
  assert status == 0 and "not checked by its consumer" in summary
  result = json.loads(last)
  assert result["checked"] is False and result["path"] == str(output)
  assert result["max_difference"] <= result["tolerance"]
  description = json.loads((output / "gtr_export.json").read_text())
  assert description["query_length"] == description["passage_length"] == 24
  # It is a model again.
  before, after = model_directory.load(model), model_directory.load(output)
  for one, other in zip(
    jax.tree.leaves(before.params), jax.tree.leaves(after.params), strict=True
  ):
    assert (one == other).all()
  assert after.tokenizer is not None and before.tokenizer is not None
  assert after.tokenizer.sha256 == before.tokenizer.sha256
