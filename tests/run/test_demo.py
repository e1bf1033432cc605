"""The main job, whole: minutes, so it runs with `make test-slow`."""

import json
import os
import subprocess
import sys

import pytest

from gtr_jax.run import curves, demo


@pytest.mark.slow
def test_each_stage_is_better_and_everything_is_left_behind(tmp_path):
  root = tmp_path / "demo"
  # As a user runs it: compiled for speed, on the devices that there are.
  environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
  done = subprocess.run(
    [sys.executable, "-m", "gtr_jax.run.demo", "--json"]
    + ["--output_dir", str(root)],
    env=environment,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  result = json.loads(done.stdout.splitlines()[-1])
  ndcg = {row: v["ndcg@10"] for row, v in result["results"].items()}
  assert ndcg["untrained"] < ndcg["stage1"] < ndcg["stage2"]
  assert set(result["out_of_domain"]) == set(demo.ROWS)
  assert result["max_difference"] <= 1e-5
  assert len(result["example"]["hits"]) == 3
  assert (root / "curves.png").read_bytes().startswith(b"\x89PNG")
  assert (root / "savedmodel" / "saved_model.pb").is_file()


def test_curves_are_drawn_from_the_logs(tmp_path):
  for name in ("stage1", "stage2"):
    (tmp_path / name).mkdir()
    records = [
      {"step": 10, "kind": "train", "loss": 3.0},
      {"step": 10, "kind": "eval", "ndcg@10": 0.25},
    ]
    lines = "".join(json.dumps(record) + "\n" for record in records)
    (tmp_path / name / "metrics.jsonl").write_text(lines)
  path = tmp_path / "curves.png"
  curves.draw([tmp_path / "stage1", tmp_path / "stage2"], path)
  assert path.read_bytes().startswith(b"\x89PNG")


def test_commands_are_shown_as_a_person_types_them():
  arguments = ["--gin.MODEL_DIR='my out'", "--query", "two words", "--depth=3"]
  assert demo._shell_line(arguments) == (
    "--gin.MODEL_DIR=\"'my out'\" --query 'two words' --depth=3"
  )
