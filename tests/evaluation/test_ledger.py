"""Results of a checkpoint: added, replaced, told from those of others."""

import json

import pytest

from gtr_jax.evaluation import ledger


def line(value, checkpoint="aa", dataset="toy", measure="ndcg@10", **more):
  return {
    "measure": measure,
    "value": value,
    "dataset": dataset,
    "split": "test",
    "checkpoint": checkpoint,
    **more,
  }


def test_a_later_result_of_the_same_takes_the_place(tmp_path):
  path = tmp_path / "results.jsonl"
  ledger.add(path, [line(0.1), line(0.2, dataset="other")])
  ledger.add(path, [line(0.3), line(0.4, checkpoint="bb")])
  found = ledger.of_checkpoint([path], "aa")
  values = {record["dataset"]: record["value"] for record in found.records}
  assert values == {"toy": 0.3, "other": 0.2}
  assert found.num_others == 1
  assert len(path.read_text().splitlines()) == 3


def test_several_ledgers_count_in_their_order(tmp_path):
  paths = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
  ledger.add(paths[0], [line(0.1), line(0.9, "bb")])
  ledger.add(paths[1], [line(0.2), {**line(0.5), "checkpoint": None}])
  found = ledger.of_checkpoint(paths, "aa")
  assert [record["value"] for record in found.records] == [0.2]
  assert found.num_others == 2


@pytest.mark.parametrize(
  ("text", "match"),
  [
    (json.dumps({"loss": 3.2, "step": 1}), r"1: 'dataset' is None, a name was"),
    (json.dumps(line("0.5")), "'value' is '0.5', a number was due"),
    ("{", "not JSON"),
  ],
)
def test_what_is_no_result_is_refused(tmp_path, text, match):
  path = tmp_path / "results.jsonl"
  path.write_text(text + "\n")
  with pytest.raises(ValueError, match=match):
    ledger.of_checkpoint([path], "aa")


def test_a_missing_file_is_named(tmp_path):
  with pytest.raises(ValueError, match="none.jsonl: cannot be read"):
    ledger.of_checkpoint([tmp_path / "none.jsonl"], "aa")
