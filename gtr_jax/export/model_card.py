"""The README of an exported folder, and what else the Hub wants beside it.

The Hub reads the header: library, task, tags, and results as `model-index`.
Source: https://huggingface.co/docs/hub/model-cards
"""

import inspect
import json
import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from gtr_jax.export import original as original_lib

CARD_FILE = "README.md"
# Which files git keeps by their hash alone; the Hub takes no other large ones.
ATTRIBUTES_FILE = ".gitattributes"
_LARGE = (
  "*.safetensors",
  "*.onnx",
  "*.onnx_data",
  "*.msgpack",
  "*.model",
  "*.pb",
  "*.bin",
  "*.npz",
  "*.stablehlo",
  "variables/variables.*",
  "assets.extra/*",
  "checkpoint_*/**",
)


@dataclass(frozen=True)
class Usage:
  """What a card says of its format.

  Attributes:
    library_name: as the Hub knows it: sentence-transformers, tensorflow, onnx …
    how_to: Markdown: what it needs, code, what can be called.
    tags: of the Hub, beside those that every card has.
    pipeline_tag: the Hub's task.
  """

  library_name: str
  how_to: str
  tags: Sequence[str] = ()
  pipeline_tag: str = "sentence-similarity"


def write(
  original: original_lib.Original, usage: Usage, directory: pathlib.Path
) -> None:
  """Writes README.md and .gitattributes into an export's folder."""
  card = text(original, usage)
  (directory / CARD_FILE).write_text(card, encoding="utf-8")
  lines = [f"{form} filter=lfs diff=lfs merge=lfs -text" for form in _LARGE]
  attributes = "\n".join(lines) + "\n"
  (directory / ATTRIBUTES_FILE).write_text(attributes, encoding="utf-8")


def text(original: original_lib.Original, usage: Usage) -> str:
  """The card, Markdown with the Hub's header."""
  header = yaml.safe_dump(
    _header(original, usage), sort_keys=False, allow_unicode=True
  )
  sections = [
    f"---\n{header}---",
    "# A text encoder, trained or imported by gtr_jax",
    _what_it_is(original),
    usage.how_to.strip(),
    _how_texts_are_read(original),
    _results(original),
    _training(original),
  ]
  return "\n\n".join(filter(None, sections)) + "\n"


def _header(original: original_lib.Original, usage: Usage) -> dict[str, Any]:
  tags = ["feature-extraction", "sentence-similarity", "retrieval", "t5", "gtr"]
  header: dict[str, Any] = {
    "library_name": usage.library_name,
    "pipeline_tag": usage.pipeline_tag,
    "tags": list(dict.fromkeys([*usage.tags, *tags])),
  }
  if original.facts.results:
    header["model-index"] = [
      {"name": original.facts.name, "results": _index(original.facts.results)}
    ]
  return header


def _index(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
  """The Hub's form of results: one entry a data set, its metrics in it."""
  return [
    {
      "task": {"type": "Retrieval"},
      "dataset": {"type": dataset, "name": dataset, "split": split},
      "metrics": [
        {
          "type": name.replace("@", "_at_"),
          "value": round(float(value), 5),
          "name": name,
        }
        for name, value in measures.items()
      ],
    }
    for (dataset, split), measures in _by_dataset(records).items()
  ]


def _by_dataset(
  records: Sequence[Mapping[str, Any]],
) -> dict[tuple[str, str], dict[str, float]]:
  """(data set, split): {measure: value}."""
  found: dict[tuple[str, str], dict[str, float]] = {}
  for record in records:
    key = record["dataset"], record["split"]
    found.setdefault(key, {})[record["measure"]] = record["value"]
  return found


def _what_it_is(original: original_lib.Original) -> str:
  tower = original.model.query_encoder
  gated = len(tower.encoder.activations) > 1
  layers = tower.encoder.num_layers
  towers = "" if original.is_shared else ", two towers"
  return (
    f"T5 {'1.1' if gated else '1.0'}, {layers}"
    f" layer{'' if layers == 1 else 's'}, width {tower.embed_dim}{towers};\n"
    f"pooling `{_name(tower.pooling_fn)}`, one matrix without bias, unit"
    f" length: {original.embedding_dim} numbers a text.\nThe dot product of two"
    f" texts is their cosine.  Step {original.step:,} of checkpoint\n"
    f"`{original.checkpoint_hash}`."
  )


def _name(function: Any) -> str:
  """mean, first, …; of a module its class."""
  plain = inspect.unwrap(function)
  return getattr(plain, "__name__", type(plain).__name__)


def _how_texts_are_read(original: original_lib.Original) -> str:
  query, passage = original.query_length, original.passage_length
  lengths = (
    f"to {passage:,} tokens"
    if query == passage
    else f"to {query:,} tokens (queries) and {passage:,} (passages)"
  )
  return f"""\
## Texts

- Texts are read {lengths}, the last one EOS; what is longer is cut.
- Prompt of a query: {_quoted(original.prompt("query"))}.
- Prompt of a passage: {_quoted(original.prompt("passage"))}.
- A passage with a title is one text: title, space, text.
- Use it in float32 or bfloat16; T5 overflows in float16.
- `gtr_export.json` names lengths, prompts and versions; `parity.json` tells how
  far this export was from the original, and who compared."""


def _quoted(prompt: str) -> str:
  return f"`{json.dumps(prompt, ensure_ascii=False)}`" if prompt else "none"


def _results(original: original_lib.Original) -> str:
  records = original.facts.results
  if not records:
    return ""
  columns = list(dict.fromkeys(record["measure"] for record in records))
  rows = [
    "## Results",
    "",
    f"| data set (split) | {' | '.join(columns)} |",
    f"|---|{'---|' * len(columns)}",
  ]
  for (dataset, split), measures in _by_dataset(records).items():
    values = (
      f"{measures[name]:.4f}" if name in measures else "–" for name in columns
    )
    rows.append(f"| {dataset} ({split}) | {' | '.join(values)} |")
  dates = sorted({str(r["date"])[:10] for r in records if "date" in r})
  rows += [
    "",
    "Shares of 1, measured by `gtr evaluate` on the checkpoint that this was\n"
    f"made of{', ' + dates[-1] if dates else ''}.",
  ]
  return "\n".join(rows)


def _training(original: original_lib.Original) -> str:
  settings = original.facts.training
  if not settings:
    return ""
  rows = ["## Training", "", "| setting | value |", "|---|---|"]
  for name, value in settings.items():
    shown = str(value).replace("|", "\\|")
    rows.append(f"| {name} | `{shown}` |")
  return "\n".join(rows)
