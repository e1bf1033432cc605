"""The log of a killed run: what stays in it."""

from gtr_jax.run import training_log


def test_cuts_lines_of_lost_steps_and_half_written_ones(tmp_path):
  path = tmp_path / training_log.METRICS_FILE
  kept = '{"step": 1, "kind": "train", "loss": 2.0}\n'
  path.write_text(f'{kept}7\n[]\n{{"step": 9, "kind": "train"}}\n{{"step": 2, ')
  with training_log.open_log(tmp_path, first_step=2, last_step=4) as log:
    log.write(3, "train", {"loss": 1.5})
  records = training_log.read(tmp_path, "train")
  assert [record["step"] for record in records] == [1, 3]
