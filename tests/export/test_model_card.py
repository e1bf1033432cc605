"""Model cards: a header that the Hub reads, results, settings."""

import dataclasses

import pytest
import yaml

from gtr_jax.data import vocabulary
from gtr_jax.export import facts, model_card
from gtr_jax.export import original as original_lib
from gtr_jax.models import dual_encoder, t5_encoder, text_encoder

USAGE = model_card.Usage("onnx", "Run it.", tags=["onnx"])
MEASURES = {"ndcg@10": 0.671234567, "recall@100": 1}


def results(dataset="toy", split="test", **more):
  return tuple(
    {
      "measure": name,
      "value": value,
      "dataset": dataset,
      "split": split,
      "checkpoint": "0123456789abcdef",
      "date": "2026-11-22T01:02:03+00:00",
      **more,
    }
    for name, value in MEASURES.items()
  )


@pytest.fixture(scope="module")
def original():
  encoder = t5_encoder.T5Encoder(
    num_layers=3, num_heads=1, head_dim=4, mlp_dim=8
  )
  return original_lib.Original(
    dual_encoder.DualEncoder(
      text_encoder.TextEncoder(encoder, 400, embed_dim=8, projection_dim=6)
    ),
    {},
    vocabulary.train(["a card", "of a model"] * 9, 300, query_prompt="query: "),
    64,
    512,
    "0123456789abcdef",
    step=1_200,
  )


def parts(card):
  """The header, parsed, and the text behind it."""
  nothing, header, body = card.split("---\n", 2)
  assert not nothing
  return yaml.safe_load(header), body


def test_a_card_tells_what_the_model_is(original):
  header, body = parts(model_card.text(original, USAGE))
  assert header == {
    "library_name": "onnx",
    "pipeline_tag": "sentence-similarity",
    "tags": [
      "onnx",
      "feature-extraction",
      "sentence-similarity",
      "retrieval",
      "t5",
      "gtr",
    ],
  }
  words = " ".join(body.split())
  for due in (
    "T5 1.0, 3 layers, width 8",
    "pooling `mean`, one matrix without bias, unit length: 6 numbers a text",
    "Step 1,200 of checkpoint `0123456789abcdef`",
    "to 64 tokens (queries) and 512 (passages)",
    'Prompt of a query: `"query: "`. - Prompt of a passage: none.',
    "Run it.",
  ):
    assert due in words
  assert "## Results" not in body and "## Training" not in body


def with_facts(original, **known):
  return dataclasses.replace(original, facts=facts.Facts(**known))


def test_results_are_a_table_and_the_hubs_index(original):
  told = with_facts(
    original, name="mine", results=results() + results("on: 'x'", "dev")
  )
  header, body = parts(model_card.text(told, USAGE))
  assert "| data set (split) | ndcg@10 | recall@100 |" in body
  assert "| toy (test) | 0.6712 | 1.0000 |" in body
  assert "| on: 'x' (dev) | 0.6712 | 1.0000 |" in body
  assert "2026-11-22" in body
  (index,) = header["model-index"]
  assert index["name"] == "mine"
  assert [entry["dataset"]["name"] for entry in index["results"]] == [
    "toy",
    "on: 'x'",
  ]
  metrics = index["results"][0]["metrics"]
  assert [(one["type"], one["value"]) for one in metrics] == [
    ("ndcg_at_10", 0.67123),
    ("recall_at_100", 1.0),
  ]


def test_the_hubs_own_parser_reads_it(original, tmp_path):
  hub = pytest.importorskip(
    "huggingface_hub", reason="comes with the extra interop"
  )
  model_card.write(
    with_facts(original, name="mine", results=results()), USAGE, tmp_path
  )
  card = hub.ModelCard.load(tmp_path / "README.md")
  assert card.data.model_name == "mine"
  assert card.data.library_name == "onnx"
  found = {
    (one.task_type, one.dataset_name, one.metric_type): one.metric_value
    for one in card.data.eval_results
  }
  assert found == {
    ("Retrieval", "toy", "ndcg_at_10"): 0.67123,
    ("Retrieval", "toy", "recall_at_100"): 1.0,
  }


def test_settings_are_a_table(original):
  told = with_facts(original, training={"BATCH_SIZE": 2048, "SCHEDULE": "a|b"})
  _, body = parts(model_card.text(told, USAGE))
  assert "| BATCH_SIZE | `2048` |" in body
  assert r"| SCHEDULE | `a\|b` |" in body


def test_large_files_go_to_lfs(original, tmp_path):
  model_card.write(original, USAGE, tmp_path)
  lines = (tmp_path / ".gitattributes").read_text().splitlines()
  assert "*.safetensors filter=lfs diff=lfs merge=lfs -text" in lines
  assert "variables/variables.* filter=lfs diff=lfs merge=lfs -text" in lines
