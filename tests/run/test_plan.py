"""`gtr plan`: with a compiler that answers at once, then with the real one."""

import importlib.util
import sys

import jax
import pytest

from gtr_jax.planning import ahead_of_time, hlo, memory, topologies
from gtr_jax.run import plan

SMALL = {
  "NUM_LAYERS": 1,
  "EMBED_DIM": 128,
  "NUM_HEADS": 2,
  "HEAD_DIM": 64,
  "MLP_DIM": 128,
  "PROJECTION_DIM": 128,
  "NUM_EMBEDDINGS": 256,
  "BATCH_SIZE": 64,
  "PACKING": False,
  "TASK_FEATURE_LENGTHS": '{"query": 8, "passage": 16}',
}
FILES = ("--gin_file=models/gtr_tiny.gin", "--gin_file=runs/train.gin")
CONTRACT = {
  "chips",
  "hbm_gib",
  "hbm_limit_gib",
  "fits",
  "collective_gib",
  "step_seconds_estimate",
  "compile_seconds",
}
# A loop of 3, in which each of 8 chips sends 2^27 float32 and computes 1e6.
PROGRAM = """\
%body (s: (s32[], f32[8])) -> (s32[], f32[8]) {
  %p = f32[134217728]{0} parameter(0)
  %sent = f32[134217728]{0} collective-permute(%p), channel_id=1
  %work = f32[8] fusion(%p), calls=%f, {"estimated_cycles":"1000000"}
}
ENTRY %main (p: f32[8]) -> f32[8] {
  %i = (s32[], f32[8]) tuple(%p)
  %w = f32[8] while(%i), body=%body, {"known_trip_count":{"n":"3"}}
}
"""
GIB_A_TEXT = 2.0


@pytest.fixture
def compiler(monkeypatch):
  """Eight devices stand for a slice; a text of a chunk takes two GiB.

  More than 20 GiB is refused by the compiler itself.
  """
  asked = []

  def train_step(task, shapes, devices):
    asked.append((task, shapes, devices))
    texts = shapes["query_keys"][0] // len(devices)
    total = GIB_A_TEXT * texts / task.objective.num_chunks * memory.GIB
    kinds = memory.Memory(100, 20, 3, round(total) - 123, 0, round(total))
    program = hlo.parse(PROGRAM) if total <= 20 * memory.GIB else None
    return ahead_of_time.Result(kinds, program, 1.5, 8 * 10**12, 6 * 10**12)

  monkeypatch.setattr(ahead_of_time, "train_step", train_step)
  monkeypatch.setattr(ahead_of_time, "encode_step", _encode_step)
  monkeypatch.setattr(
    topologies, "devices", lambda slice_: jax.devices()[: slice_.num_chips]
  )
  return asked


def _encode_step(task, shapes, devices, num_texts, length):
  kinds = memory.Memory(100, 0, 3, 0, 0, 103)
  work = num_texts * length
  return ahead_of_time.Result(kinds, hlo.parse(PROGRAM), 0.5, work, work)


def arguments(*more, **macros):
  bindings = {**SMALL, **macros}
  gin = [f"--gin.{name}={value}" for name, value in bindings.items()]
  return [*FILES, *gin, *more]


def test_contract(call_program, compiler):
  status, result, _ = call_program(
    plan.main, *arguments("--topology=v5e:2x4", NUM_CHUNKS=8)
  )
  assert status == 0
  assert result.keys() >= CONTRACT
  assert result["chips"] == 8
  # 64 texts of 8 chips in 8 chunks: 1 text, 2 GiB.
  assert (result["hbm_gib"], result["hbm_limit_gib"]) == (2.0, 15.75)
  assert result["fits"] is True
  # 3 times 2^29 bytes, at 100 GB/s; 3e6 cycles at 1.5 GHz.
  assert (
    result["collective_gib"]
    == result["collectives"]["collective-permute"]
    == 1.5
  )
  assert result["step_seconds_estimate"] == pytest.approx(
    3 * 2**29 / 1e11 + 3e6 / 1.5e9, rel=1e-2
  )
  assert result["model_tflops"] == 6.0
  assert result["encode"]["fits"] is True
  assert result["advice"] == []


def test_no_data_no_directory_no_number_of_steps(
  call_program, compiler, tmp_path, monkeypatch
):
  monkeypatch.chdir(tmp_path)
  more = "--step=train", "--num_positives=3"
  call_program(plan.main, *arguments("--topology=v5e:2x4", *more))
  [(_, shapes, devices)] = compiler
  assert shapes["query_tokens"] == (64, 8)
  assert shapes["passage_tokens"] == (64, 1, 16)
  assert shapes["positive_keys"] == (64, 3, 2)
  assert len(devices) == 8
  assert not list(tmp_path.iterdir())


def test_packed_batches_have_fewer_rows(call_program, compiler):
  more = "--mean_query_tokens=2", "--mean_passage_tokens=4", "--step=train"
  big = arguments("--topology=v5e:2x4", *more, BATCH_SIZE=1024, PACKING=True)
  _, result, _ = call_program(plan.main, *big)
  assert result["packed"] is True
  [(_, shapes, _)] = compiler
  for tower, length in ("query", 8), ("passage", 16):
    num_rows, row_length = shapes[f"{tower}_rows"]
    assert row_length == length
    # Four texts of a quarter's length fill a row, a long one now and then less.
    assert 1024 / 4 <= num_rows < 1024 / 2
    assert num_rows % 8 == 0


def test_a_plan_that_does_not_fit_is_a_plan(call_program, compiler):
  status, result, _ = call_program(
    plan.main, *arguments("--topology=v5e:2x4", "--step=train")
  )
  assert status == 0
  assert (result["hbm_gib"], result["fits"]) == (16.0, False)
  assert any("--gin.NUM_CHUNKS=2" in advice for advice in result["advice"])


def test_what_the_compiler_refuses_is_a_plan(call_program, compiler):
  big = arguments("--topology=v5e:2x4", "--step=train", BATCH_SIZE=128)
  status, result, _ = call_program(plan.main, *big)
  assert status == 0
  assert (result["hbm_gib"], result["fits"]) == (32.0, False)
  assert result["collective_gib"] is result["step_seconds_estimate"] is None


def test_find_batch(call_program, compiler):
  status, result, errors = call_program(
    plan.main, *arguments("--topology=v5e:2x4", "--find=batch", NUM_CHUNKS=2)
  )
  assert status == 0
  # 15.75 GiB hold 7 texts of a chunk; two chunks, eight chips.
  assert result["largest_batch"] == result["batch_size"] == 7 * 2 * 8
  assert result["fits"] is True
  assert len(result["tries"]) == len(errors.splitlines()) <= 6


def test_find_chunks(call_program, compiler):
  status, result, _ = call_program(
    plan.main, *arguments("--topology=v5e:2x4", "--find=chunks", BATCH_SIZE=256)
  )
  assert status == 0
  # 32 texts a chip, 7 of which fit.
  assert result["smallest_chunks"] == result["num_chunks"] == 8
  assert result["hbm_gib"] == 8.0


def test_nothing_fits(call_program, compiler, monkeypatch):
  monkeypatch.setattr(sys.modules[__name__], "GIB_A_TEXT", 16)
  for find, key in ("batch", "largest_batch"), ("chunks", "smallest_chunks"):
    status, result, _ = call_program(
      plan.main, *arguments("--topology=v5e:2x4", f"--find={find}")
    )
    assert status == 0
    assert (result[key], result["fits"]) == (None, False)
    assert result["hbm_gib"] == 16.0  # The last try, of one text.


def test_sweep(call_program, compiler):
  status, result, _ = call_program(
    plan.main, *arguments("--sweep=v5e:2x2,v6e:2x4", "--remats=none,full")
  )
  assert status == 0
  rows = [
    (row["topology"], row["remat"], row["hbm_gib"], row["fits"])
    for row in result["sweep"]
  ]
  assert rows == [
    ("v5e:2x2", "none", 32.0, False),
    ("v5e:2x2", "full", 32.0, False),
    ("v6e:2x4", "none", 16.0, True),
    ("v6e:2x4", "full", 16.0, True),
  ]
  assert result["topology"] == "v6e:2x4"


def test_one_gpu(call_program):
  status, result, _ = call_program(
    plan.main,
    *arguments("--gpu_memory=0.5", "--step=train", NUM_EMBEDDINGS=512),
  )
  assert status == 0
  assert result["chips"] == 1
  assert result["hbm_limit_gib"] == 0.5
  assert result["fits"] is True
  parameters = (512 + 4 * 128 + 2 * 128 + 128) * 128 + 3 * 128 + 2 * 32
  assert result["parameters_gib"] == pytest.approx(parameters * 4 / 2**30, 1e-2)
  assert result["step_seconds_estimate"] is None
  assert "no GPU compiler" in result["assumptions"][0]


@pytest.mark.parametrize(
  ("more", "complaint"),
  [
    ((), "--topology is missing"),
    (("--topology=v5e",), "--topology is 'v5e'"),
    (("--topology=v9:2x2",), "--topology is 'v9:2x2'"),
    (("--topology=v5e:2x2x2",), "v5e has 2 dimensions"),
    (("--topology=v5e:2x4", "--gin.BATCH_SIZE=12"), "that fits is 16"),
    (("--topology=v5e:2x4", "--gin.BATCHSIZE=12"), "did you mean BATCH_SIZE"),
    (("--gpu_memory=0",), "--gpu_memory is 0"),
    (("--gin.TOPOLOGY='gpu:8'",), "TOPOLOGY is 'gpu:8'"),
    (("--sweep=,",), "--sweep or --remats is empty"),
  ],
)
def test_mistakes_are_one_line(more, complaint, call_program, compiler):
  status, _, errors = call_program(plan.main, *arguments(*more))
  assert status == 2
  assert complaint in errors
  assert len(errors.splitlines()) == 1


def test_no_config_is_a_mistake(call_program):
  status, _, errors = call_program(plan.main, "--topology=v5e:2x4")
  assert status == 2
  assert "--gin_file is missing" in errors


def test_without_libtpu_it_says_what_to_install(call_program, monkeypatch):
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  status, _, errors = call_program(plan.main, *arguments("--topology=v5e:2x4"))
  assert status == 2
  assert "pip install 'gtr_jax[plan]'" in errors
  assert len(errors.splitlines()) == 1


def test_the_real_compiler(call_program):
  pytest.importorskip("libtpu", reason="libtpu is not installed: [plan]")
  status, result, _ = call_program(
    plan.main,
    *arguments("--topology=v5e:2x2", "--step=train", BATCH_SIZE=16),
  )
  assert status == 0
  assert result["fits"] is True
  assert result["unknown_loops"] == 0
  kinds = ("parameters", "optimizer", "batch", "temporaries", "code")
  assert sum(result[f"{kind}_gib"] for kind in kinds) == pytest.approx(
    result["hbm_gib"], rel=0.02
  )
  # Gradients of all parameters are reduced once: 2 * 3/4 of them are sent.
  assert result["collectives"]["all-reduce"] == pytest.approx(
    result["parameters_gib"] * 1.5, rel=0.1
  )
  assert 0 < result["utilization"] < 1
