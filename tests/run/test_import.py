import dataclasses
import json
import pathlib
import resource
import signal
import subprocess
import sys

import flax.serialization
import jax
import numpy as np
import pytest

from gtr_jax.checkpoints import manager, names, streaming
from gtr_jax.data import vocabulary
from gtr_jax.export import original as original_lib
from gtr_jax.export import t5x as t5x_export
from gtr_jax.run import import_, import_comparison, model_directory

ROOT = pathlib.Path(__file__).parents[2]
WIDE = {"1.0": ["wi"], "1.1": ["wi_0", "wi_1"]}


def arrays_of(version="1.0", vocab_size=300):
  """One layer, width 6, 3 heads of 2, MLP 10, 8 buckets, projection 5."""
  rng = np.random.default_rng(0)
  layer = "encoder/layers_0"
  shapes = {
    "token_embedder/embedding": (vocab_size, 6),
    "encoder/relpos_bias/rel_embedding": (3, 8),
    "encoder/encoder_norm/scale": (6,),
    f"{layer}/pre_attention_layer_norm/scale": (6,),
    f"{layer}/pre_mlp_layer_norm/scale": (6,),
    f"{layer}/mlp/wo/kernel": (10, 6),
    "projection_layer/kernel": (6, 5),
  }
  shapes |= {f"{layer}/mlp/{wide}/kernel": (6, 10) for wide in WIDE[version]}
  for part in ("query", "key", "value", "out"):
    shapes[f"{layer}/attention/{part}/kernel"] = (6, 6)
  return {
    name: rng.normal(size=shape).astype(np.float32)
    for name, shape in shapes.items()
  }


def write_checkpoint(path, arrays, step=7):
  tree = {"target": names.unflatten(arrays), "state": {"step": np.int32(step)}}
  path.mkdir()
  (path / "checkpoint").write_bytes(flax.serialization.msgpack_serialize(tree))
  return path


def import_checkpoint(tmp_path, *flags, **settings):
  """(exit status, path of the model directory)"""
  checkpoint = tmp_path / "checkpoint_7"
  if not checkpoint.exists():
    write_checkpoint(checkpoint, settings.pop("arrays", arrays_of()))
  output = tmp_path / "model"
  status = import_.main(
    ["--format=t5x", f"--checkpoint={checkpoint}", f"--output={output}"]
    + ["--json", *flags]
  )
  return status, output


@pytest.mark.parametrize("version", WIDE)
def test_sizes_and_arrays_come_from_the_checkpoint(tmp_path, capsys, version):
  arrays = arrays_of(version)
  status, output = import_checkpoint(tmp_path, arrays=arrays)
  assert status == 0
  result = json.loads(capsys.readouterr().out.splitlines()[-1])
  assert result == {
    "model": str(output),
    "parameters": sum(array.size for array in arrays.values()),
    "unused": [],
    "missing": [],
    "checked": False,
  }
  loaded = model_directory.load(output)
  assert loaded.step == 7 and loaded.tokenizer is None
  assert len(loaded.model.query_encoder.encoder.activations) == len(
    WIDE[version]
  )
  actual = names.flatten(loaded.params)
  assert actual.keys() == arrays.keys()
  for name, array in arrays.items():
    np.testing.assert_array_equal(actual[name], array)


@pytest.mark.parametrize(
  "name, golden, max_distance",
  [
    ("test_de_t5_tiny.checkpoint_1000", "test_de_t5_tiny_golden.npz", 8),
    ("trained_orbax_ocdbt", "trained_golden.npz", 128),
  ],
)
def test_the_model_directory_gives_t5x_embeddings(
  tmp_path, shared_data, name, golden, max_distance
):
  status = import_.main([
    "--format=t5x",
    f"--checkpoint={shared_data / 't5x' / name}",
    f"--output={tmp_path / 'model'}",
    f"--relative_attention_max_distance={max_distance}",
    f"--vocabulary={shared_data / 'vocab/t5_spiece.model'}",
  ])  # fmt: skip
  assert status == 0
  loaded = model_directory.load(tmp_path / "model")
  arrays = np.load(shared_data / "t5x" / golden)
  actual = loaded.model.apply(
    {"params": loaded.params},
    arrays["right_encoder_input_tokens"],
    method="encode_passage",
  )
  np.testing.assert_allclose(
    np.asarray(actual), arrays["float32/right_embeddings"], atol=1e-6
  )
  assert loaded.tokenizer is not None
  rows, _ = loaded.tokenizer.encode(["hello world"], 8, "query")
  assert rows[0].tolist() == [21820, 296, 1]


def test_an_export_comes_back_with_prompts_and_distance(
  tmp_path, toy_model, monkeypatch
):
  monkeypatch.setattr(t5x_export, "consumer", lambda: None)
  before = model_directory.load(toy_model)
  assert before.tokenizer is not None
  (tmp_path / "folder").mkdir()
  original = original_lib.Original(
    before.model.clone(
      query_encoder=before.model.query_encoder.clone(
        encoder=before.model.query_encoder.encoder.clone(
          relative_attention_max_distance=64
        )
      )
    ),
    before.params,
    dataclasses.replace(before.tokenizer, query_prompt='find "it": '),
    *(32, 32, before.checkpoint_hash, before.step),
  )
  t5x_export.write(original, tmp_path / "folder")
  for number, place in enumerate(("folder", "folder/checkpoint_0")):
    output = tmp_path / f"model_{number}"
    status = import_.main(
      ["--format=t5x", f"--checkpoint={tmp_path / place}"]
      + [f"--output={output}"]
    )
    assert status == 0
    after = model_directory.load(output)
    encoder = after.model.query_encoder.encoder
    assert encoder.relative_attention_max_distance == 64
    assert after.tokenizer is not None
    assert after.tokenizer.query_prompt == 'find "it": '
    assert after.checkpoint_hash == before.checkpoint_hash


def test_a_decoder_is_unused(tmp_path, capsys):
  arrays = arrays_of() | {"decoder/logits_dense/kernel": np.ones((6, 300))}
  status, output = import_checkpoint(tmp_path, arrays=arrays)
  result = json.loads(capsys.readouterr().out.splitlines()[-1])
  assert status == 0
  assert result["unused"] == ["decoder/logits_dense/kernel"]
  assert names.flatten(model_directory.load(output).params).keys() == (
    arrays_of().keys()
  )


def test_a_missing_projection_must_be_asked_for(tmp_path, capsys):
  arrays = arrays_of()
  del arrays["projection_layer/kernel"]
  status, output = import_checkpoint(tmp_path, arrays=arrays)
  error = capsys.readouterr().err
  assert status == 2 and not output.exists()
  assert "lacks projection_layer/kernel" in error and error.count("\n") == 1

  status, output = import_checkpoint(tmp_path, "--initialize_missing")
  result = json.loads(capsys.readouterr().out.splitlines()[-1])
  assert status == 0 and result["missing"] == ["projection_layer/kernel"]
  actual = names.flatten(model_directory.load(output).params)
  drawn = np.asarray(actual.pop("projection_layer/kernel"))
  assert drawn.shape == (6, 768)
  # Truncated normal of variance 1 / fan-in.
  np.testing.assert_allclose(drawn.std(), 6**-0.5, rtol=0.1)
  for name, array in actual.items():
    np.testing.assert_array_equal(array, arrays[name])


def test_the_same_seed_draws_the_same(tmp_path):
  arrays = arrays_of()
  del arrays["projection_layer/kernel"]
  drawn = []
  for name, seed in (("a", 1), ("b", 1), ("c", 2)):
    (tmp_path / name).mkdir()
    _, output = import_checkpoint(
      tmp_path / name, "--initialize_missing", f"--seed={seed}", arrays=arrays
    )
    params = jax.tree.leaves(model_directory.load(output).params)
    drawn.append(sum(float(np.abs(x).sum()) for x in params))
  assert drawn[0] == drawn[1] != drawn[2]


def trained_vocabulary(tmp_path, vocab_size):
  tokenizer = vocabulary.train(["to be or not to be"] * 3, vocab_size)
  path = tmp_path / "sentencepiece.model"
  path.write_bytes(tokenizer.model_bytes)
  return path, tokenizer


def test_the_vocabulary_is_copied(tmp_path):
  path, tokenizer = trained_vocabulary(tmp_path, 280)
  status, output = import_checkpoint(tmp_path, f"--vocabulary={path}")
  assert status == 0
  loaded = model_directory.load(output).tokenizer
  assert loaded is not None
  assert loaded.model_bytes == tokenizer.model_bytes


def broken_nan(arrays):
  arrays["encoder/encoder_norm/scale"][3] = np.nan


def broken_shape(arrays):
  arrays["encoder/layers_0/mlp/wo/kernel"] = np.ones((9, 6))


def broken_layer(arrays):
  del arrays["encoder/layers_0/attention/key/kernel"]


def broken_names(arrays):
  for name in list(arrays):
    arrays[f"model/{name}"] = arrays.pop(name)


@pytest.mark.parametrize(
  "damage, match",
  [
    (broken_nan, "NaN or infinity in encoder/encoder_norm/scale"),
    (broken_shape, "wo/kernel is (9, 6), due is (10, 6)"),
    (broken_layer, "lacks encoder/layers_0/attention/key/kernel"),
    (broken_names, "no array of encoder/layers_0"),
  ],
)
def test_a_checkpoint_that_is_no_model_leaves_nothing(
  tmp_path, capsys, damage, match
):
  arrays = arrays_of()
  damage(arrays)
  status, output = import_checkpoint(tmp_path, arrays=arrays)
  error = capsys.readouterr().err
  assert status == 2 and match in error and error.count("\n") == 1
  assert str(tmp_path / "checkpoint_7") in error
  assert not output.exists()


def test_a_vocabulary_of_another_model_is_refused(tmp_path, capsys):
  path, _ = trained_vocabulary(tmp_path, 280)
  status, output = import_checkpoint(
    tmp_path, f"--vocabulary={path}", arrays=arrays_of(vocab_size=40)
  )
  error = capsys.readouterr().err
  assert status == 2 and "has 40 rows" in error and not output.exists()


def test_a_model_directory_is_not_overwritten(tmp_path, capsys):
  assert import_checkpoint(tmp_path)[0] == 0
  capsys.readouterr()
  assert import_checkpoint(tmp_path)[0] == 2
  assert "holds checkpoints already" in capsys.readouterr().err


@pytest.mark.parametrize(
  "flags, most, asked",
  [
    ([], 10**9, True),
    ([], 100, False),
    (["--checked"], 100, True),
    (["--unchecked"], 10**9, False),
  ],
)
def test_a_large_model_is_compared_on_demand(
  tmp_path, capsys, monkeypatch, flags, most, asked
):
  calls = []
  monkeypatch.setattr(import_, "_MOST_COMPARED", most)
  monkeypatch.setattr(
    import_comparison, "compare", lambda *args: calls.append(args)
  )
  assert import_checkpoint(tmp_path, *flags)[0] == 0
  output = capsys.readouterr().out
  assert bool(calls) == asked
  assert ("would be in memory twice" in output) == (not asked and not flags)


def test_a_folder_with_other_things_is_left_alone(tmp_path, capsys):
  (tmp_path / "model").mkdir()
  (tmp_path / "model/notes.txt").write_text("mine")
  assert import_checkpoint(tmp_path)[0] == 2
  assert "is not empty" in capsys.readouterr().err
  assert [p.name for p in (tmp_path / "model").iterdir()] == ["notes.txt"]


def after_four_arrays(monkeypatch, end):
  serialize = streaming._Handler.serialize

  async def ends_early(self, values, infos, args=None):
    await serialize(self, values[:4], infos[:4])
    end()
    return await serialize(self, values[4:], infos[4:])

  monkeypatch.setattr(streaming._Handler, "serialize", ends_early)


def test_a_full_disk_leaves_nothing(tmp_path, capsys, monkeypatch):
  kept = resource.getrlimit(resource.RLIMIT_FSIZE)
  after_four_arrays(
    monkeypatch,
    lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100, kept[1])),
  )
  try:
    status, _ = import_checkpoint(tmp_path)
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, kept)
  error = capsys.readouterr().err
  assert status == 2 and error.count("\n") == 1
  assert "File too large; make room" in error
  assert [path.name for path in tmp_path.iterdir()] == ["checkpoint_7"]


def test_an_interrupted_import_leaves_nothing(tmp_path, monkeypatch):
  def interrupt():
    raise KeyboardInterrupt

  after_four_arrays(monkeypatch, interrupt)
  assert import_checkpoint(tmp_path)[0] == 130
  assert [path.name for path in tmp_path.iterdir()] == ["checkpoint_7"]


def test_a_killed_import_leaves_no_model(tmp_path):
  write_checkpoint(tmp_path / "checkpoint_7", arrays_of())
  program = f"""
import os, signal, sys
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "tests/run")!r}]
import pytest, test_import
test_import.after_four_arrays(
  pytest.MonkeyPatch(), lambda: os.kill(os.getpid(), signal.SIGKILL))
test_import.import_.main(sys.argv[1:])
"""
  killed = subprocess.run(
    [sys.executable, "-c", program, "--format=t5x"]
    + ["--checkpoint=checkpoint_7", "--output=model"],
    cwd=tmp_path,
    capture_output=True,
  )
  assert killed.returncode == -signal.SIGKILL
  (left,) = [path for path in tmp_path.iterdir() if path.suffix == ".partial"]
  assert not (tmp_path / "model").exists()
  assert not (left / "config.gin").exists()
  assert manager.available_steps(left) == []


@pytest.mark.parametrize("distance", ["2", "0", "-1"])
def test_a_distance_inside_the_exact_buckets_is_refused(
  tmp_path, capsys, distance
):
  flag = f"--relative_attention_max_distance={distance}"
  assert import_checkpoint(tmp_path, flag)[0] == 2
  assert "--relative_attention_max_distance" in capsys.readouterr().err


def test_only_formats_that_exist_are_offered(capsys):
  with pytest.raises(SystemExit) as stop:
    import_.main(["--format=onnx", "--checkpoint=a", "--output=b"])
  assert stop.value.code == 2
  assert "t5x" in capsys.readouterr().err
