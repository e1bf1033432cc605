"""The main job, whole: minutes, so it runs with `make test-slow`."""

import json

import pytest

from gtr_jax.run import curves, demo


@pytest.mark.slow
def test_each_stage_is_better_and_everything_is_left_behind(tmp_path, capsys):
  root = tmp_path / "demo"
  assert demo.main(["--output_dir", str(root), "--json"]) == 0
  result = json.loads(capsys.readouterr().out.splitlines()[-1])
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
