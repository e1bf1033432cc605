"""From numbers of a program to GiB, seconds and words."""

import dataclasses

import pytest

from gtr_jax.planning import (
  advice,
  ahead_of_time,
  estimate,
  hlo,
  memory,
  report,
  topologies,
)

GIB = memory.GIB
SLICE = topologies.parse("v5e:4x4")
PROGRAM = hlo.parse(
  "ENTRY %main (p: f32[8]) -> f32[8] {\n"
  '  %a = f32[8] fusion(%p), calls=%f, {"estimated_cycles":"3000000000"}\n'
  "  %b = f32[25000000000] collective-permute(%p), channel_id=1\n"
  "}\n"
)
MEMORY = memory.Memory(GIB, 2 * GIB, 0, 3 * GIB, 0, 6 * GIB)
RESULT = ahead_of_time.Result(MEMORY, PROGRAM, 12.0, 4 * 10**15, 3 * 10**15)
KNOBS = advice.Knobs(
  num_chunks=4,
  max_chunks=64,
  remat="dots",
  score_tile=None,
  has_score_tile=True,
  shards_parameters=False,
  score_bytes=10 * GIB,
)


def test_seconds_by_hand():
  found = estimate.on_slice(RESULT, SLICE)
  # 3e9 cycles at 1.5 GHz; 1e11 bytes at 100 GB/s.
  assert found.compute_seconds == pytest.approx(2.0)
  assert found.collective_seconds == pytest.approx(1.0)
  assert found.seconds == pytest.approx(3.0)
  # 16 chips of 197 Tflop/s.
  assert found.utilization == pytest.approx(3e15 / (3.0 * 16 * 197e12))
  assert found.fits


def test_several_batches_add_up_and_hold_a_sum_of_gradients():
  one = estimate.on_slice(RESULT, SLICE)
  assert estimate.accumulated(one, 1) == one
  three = estimate.accumulated(one, 3)
  assert three.seconds == pytest.approx(9.0)
  assert three.memory.total == 7 * GIB
  assert three.sent == {"collective-permute": 3 * 10**11}


def test_more_than_the_chip_has_does_not_fit():
  much = dataclasses.replace(MEMORY, total=round(15.76 * GIB))
  found = estimate.on_slice(dataclasses.replace(RESULT, memory=much), SLICE)
  assert not found.fits


def test_a_refused_program_fits_nowhere_and_has_no_time():
  refused = dataclasses.replace(RESULT, program=None)
  found = estimate.on_slice(refused, SLICE)
  assert not found.fits
  assert found.seconds is None
  assert report.as_json(found)["collective_gib"] is None
  assert "refused" in report.as_text("train step", found)


def test_json_is_in_gib():
  values = report.as_json(estimate.on_slice(RESULT, SLICE))
  assert values["hbm_gib"] == 6.0
  assert values["parameters_gib"] == 1.0
  assert values["collective_gib"] == pytest.approx(1e11 / GIB, rel=1e-3)
  assert values["model_tflops"] == 3000.0


def advised(memory_, **changes):
  result = dataclasses.replace(RESULT, memory=memory_, program=None)
  found = estimate.on_slice(result, SLICE)
  return " ".join(advice.changes(found, dataclasses.replace(KNOBS, **changes)))


def test_advice_names_what_is_large():
  much_state = memory.Memory(10 * GIB, 5 * GIB, 0, GIB, 0, 16 * GIB)
  much_work = memory.Memory(GIB, 0, 0, 19 * GIB, 0, 20 * GIB)
  assert "LOGICAL_AXIS_RULES" in advised(much_state)
  assert "LOGICAL_AXIS_RULES" not in advised(much_state, shards_parameters=True)
  assert "LOGICAL_AXIS_RULES" not in advised(much_work)
  assert "SCORE_TILE" in advised(much_work)
  assert "SCORE_TILE" not in advised(much_work, score_bytes=GIB // 8)
  assert "SCORE_TILE" not in advised(much_work, score_tile=512)
  assert "NUM_CHUNKS=8" in advised(much_work)
  assert "NUM_CHUNKS" not in advised(much_work, num_chunks=64)
  assert "'full'" in advised(much_work)
  assert "'full'" not in advised(much_work, remat="full")


def test_what_fits_needs_no_advice():
  assert advice.changes(estimate.on_slice(RESULT, SLICE), KNOBS) == []


def test_table_has_a_line_a_plan():
  rows = [
    {"topology": "v5e:2x2", "remat": "dots", "hbm_gib": 16.5, "fits": False},
    {"topology": "v5e:16x16", "remat": "full", "hbm_gib": 3.25, "fits": True},
  ]
  lines = report.sweep_table(rows).splitlines()
  assert len(lines) == 3
  assert [line.split()[0] for line in lines[1:]] == ["v5e:2x2", "v5e:16x16"]
  assert lines[0].index("fits") == lines[1].index("no") == lines[2].index("yes")
