"""Data sets of TensorFlow Datasets, such as beir/msmarco (TensorFlow).

An example is a query and a passage; those of one query are put together,
wherever they stand.  Which feature is what is told by `fields`:

  query, positive         text; the positive may be a list of texts
  negative                text, or a list of texts; optional
  query_id, positive_id   optional
  title                   of the positive; optional
  score                   the passage answers if it is above 0; optional

"a.b" is the field b of a feature a, which is a dictionary or JSON.
"""

import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gtr_jax.files import fields as field_types
from gtr_jax.labelled import json_streams, scattered
from gtr_jax.labelled.ledger import Ledger
from gtr_jax.labelled.question import Passage, Question
from gtr_jax.labelled.scattered import Labelled
from gtr_jax.labelled.settings import Settings

NAMES = (
  "query",
  "positive",
  "negative",
  "query_id",
  "positive_id",
  "title",
  "score",
)
_BEIR = {
  "query": "query",
  "positive": "passage",
  "query_id": "query_id",
  "positive_id": "passage_id",
  "title": "passage_metadata.title",
  "score": "score",
}


def questions(
  names: Sequence[str | pathlib.Path], settings: Settings, ledger: Ledger
) -> Iterator[Question]:
  """The questions of one data set.

  Args:
    names: one of TFDS's catalogue, which is prepared if it is not there; or the
      folder of a prepared one, that with dataset_info.json.

  Raises:
    ValueError: no such data set, split or feature.
  """
  if len(names) != 1:
    raise ValueError("give the name of one data set of TFDS")
  name = str(names[0])
  builder = _builder(name)
  features = dict(settings.fields)
  if not features and builder.info.name == "beir":
    features = _BEIR
  unknown = set(features) - set(NAMES)
  if unknown:
    raise ValueError(
      f"--fields names {min(unknown)!r}: known are {', '.join(NAMES)}"
    )
  if not {"query", "positive"} <= set(features):
    raise ValueError(
      f"{name}: say which features hold what:"
      " --fields=query=question,positive=answer"
    )
  _check(name, builder, settings.split, features)
  return scattered.questions(
    f"{name} {settings.split}",
    {
      "tfds": builder.info.full_name,
      "data": str(builder.data_dir),
      "split": settings.split,
      "fields": features,
    },
    lambda store_ledger: _read(
      name, builder, settings.split, features, store_ledger
    ),
    settings,
    ledger,
  )


def _builder(name: str) -> Any:
  import tensorflow_datasets as tfds

  if (pathlib.Path(name) / "dataset_info.json").is_file():
    return tfds.builder_from_directory(name)
  try:
    builder = tfds.builder(name)
  except tfds.core.DatasetNotFoundError:
    raise ValueError(
      f"{name}: TFDS knows no such data set: give one of its catalogue"
      " (https://www.tensorflow.org/datasets), or the folder of a prepared one"
    ) from None
  try:
    builder.download_and_prepare()
  except Exception as error:  # The network's, Apache Beam's, a source's ...
    raise ValueError(
      f"{name}: TFDS cannot prepare it ({error!r:.300}): prepare it with `tfds"
      " build`, then give its folder"
    ) from None
  return builder


def _check(
  name: str, builder: Any, split: str, features: Mapping[str, str]
) -> None:
  if split.partition("[")[0] not in builder.info.splits:
    raise ValueError(
      f"{name} has no split {split!r}: it has"
      f" {', '.join(builder.info.splits) or 'none'}"
    )
  for what, feature in features.items():
    if feature.partition(".")[0] not in builder.info.features:
      raise ValueError(
        f"{name} has no feature {feature!r} for {what!r}: it has"
        f" {', '.join(builder.info.features)}"
      )


def _read(
  name: str,
  builder: Any,
  split: str,
  features: Mapping[str, str],
  ledger: Ledger,
) -> Iterator[Labelled]:
  import tensorflow_datasets as tfds

  # One file after the other, so that the order is always the same.
  config = tfds.ReadConfig(interleave_cycle_length=1)
  examples = builder.as_dataset(split=split, read_config=config)
  for number, example in enumerate(tfds.as_numpy(examples), 1):
    try:
      found = list(_labelled(example, features, number))
    except ValueError as error:
      ledger.leave_out("bad_example", f"{name} {split}:{number}: {error}")
    else:
      yield from found


def _labelled(
  example: Mapping[str, Any], features: Mapping[str, str], number: int
) -> Iterator[Labelled]:
  values = {what: _value(example, path) for what, path in features.items()}
  query = field_types.string(values["query"], features["query"])
  identifier = _identifier(values.get("query_id"), "query_id")
  score = values.get("score")
  title = field_types.optional_string(values.get("title"), "title").strip()
  passage_id = _identifier(values.get("positive_id"), "positive_id")
  for text in _texts(values["positive"], features["positive"]):
    yield Labelled(
      query,
      identifier,
      Passage(passage_id, text, title),
      score is None or json_streams.score(score, features["score"]) > 0,
      number,
    )
  if values.get("negative") is not None:
    for text in _texts(values["negative"], features["negative"]):
      yield Labelled(query, identifier, Passage(None, text), False, number)


def _value(example: Mapping[str, Any], path: str) -> Any:
  value: Any = example
  for name in path.split("."):
    if isinstance(value, (bytes, str)):
      value = json.loads(value)
    value = value.get(name) if isinstance(value, Mapping) else None
    value = _plain(value)
  return value


def _plain(value: Any) -> Any:
  """Python's own types for numpy's, text for bytes."""
  if hasattr(value, "tolist"):
    value = value.tolist()
  if isinstance(value, bytes):
    return value.decode()
  if isinstance(value, list):
    return [_plain(item) for item in value]
  return value


def _texts(value: Any, name: str) -> list[str]:
  values = value if isinstance(value, list) else [value]
  return [field_types.string(item, name) for item in values]


def _identifier(value: Any, name: str) -> str | None:
  if value is None or value == "":
    return None
  return field_types.identifier(value, name)
