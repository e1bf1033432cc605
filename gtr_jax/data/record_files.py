"""Pairs in TFRecord and ArrayRecord files: a tf.train.Example each.

The features are lists of bytes, UTF-8: `query`, `positives`, `negatives`,
`query_id`, `positive_ids`, `negative_ids`; one that is empty is left out.
"""

import pathlib
from collections.abc import Callable, Generator, Iterator
from typing import Any

from gtr_jax.data.pair import Pair, parse_pair
from gtr_jax.files import lines, optional

SUFFIXES = (".tfrecord", ".array_record")

_BATCH_RECORDS = 256
_SINGLE = ("query", "query_id")
_LISTS = ("positives", "negatives", "positive_ids", "negative_ids")


def encode(pair: Pair) -> bytes:
  """The record of a pair."""
  import tensorflow as tf

  texts = {name: getattr(pair, name) for name in (*_SINGLE, *_LISTS)}
  features = {}
  for name, value in texts.items():
    if not value:
      continue
    values = [value] if isinstance(value, str) else value
    features[name] = tf.train.Feature(
      bytes_list=tf.train.BytesList(value=[text.encode() for text in values])
    )
  example = tf.train.Example(features=tf.train.Features(feature=features))
  return example.SerializeToString(deterministic=True)


def decode(record: bytes) -> Pair:
  """The pair of a record.

  Raises:
    ValueError: what came, and what was due.
  """
  import tensorflow as tf
  from google.protobuf import message

  try:
    example = tf.train.Example.FromString(record)
  except message.DecodeError:
    raise ValueError(
      "no tf.train.Example: a record that `gtr community --beam` writes was due"
    ) from None
  fields: dict[str, Any] = {}
  for name, feature in example.features.feature.items():
    values = [_text(value, name) for value in feature.bytes_list.value]
    if name in _LISTS:
      fields[name] = values or None
    elif name in _SINGLE:
      if len(values) != 1:
        raise ValueError(f"{name!r} holds {len(values)} texts, one was due")
      fields[name] = values[0]
  return parse_pair(fields)


def read(
  path: pathlib.Path,
  on_bad_line: lines.OnBadLine,
  report: lines.Report,
  refused: Callable[[int, ValueError], None],
) -> Generator[tuple[int, Pair], None, None]:
  """The number, from 1, and the pair of each record of a file.

  Args: as of `lines.parse_lines`, with records for lines.

  Raises:
    BadLineError: a record that is no pair, unless skipped; a file that breaks,
      always.
  """
  number, num_bad, first = 0, 0, ""
  for number, record in enumerate(_records(path), start=1):
    try:
      pair = decode(record)
    except ValueError as error:
      if on_bad_line == "error":
        raise lines.BadLineError(f"{path}:{number}: {error}") from None
      num_bad += 1
      refused(number, error)
      first = first or f"record {number}: {error}"
    else:
      yield number, pair
  if num_bad:
    report(f"{path}: skipped {num_bad} records of {number}, first: {first}")


def _records(path: pathlib.Path) -> Iterator[bytes]:
  if path.suffix == ".tfrecord":
    yield from _of_tfrecord(path)
  else:
    yield from _of_array_record(path)


def _of_tfrecord(path: pathlib.Path) -> Iterator[bytes]:
  import tensorflow as tf

  number = 0
  try:
    records: Any = tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
    for record in records:
      yield record
      number += 1
  except tf.errors.OpError as error:
    raise _broken(path, number, str(error.message)) from None


def _of_array_record(path: pathlib.Path) -> Iterator[bytes]:
  library = optional.load("array_record.python.array_record_module", "data")
  number = 0
  try:
    reader = library.ArrayRecordReader(str(path))
    num_records = reader.num_records()
    for number in range(0, num_records, _BATCH_RECORDS):
      end = min(number + _BATCH_RECORDS, num_records)
      yield from reader.read(list(range(number, end)))
    reader.close()
  except (RuntimeError, ValueError, IndexError) as error:
    raise _broken(path, number, str(error)) from None


def _broken(
  path: pathlib.Path, num_whole: int, reason: str
) -> lines.BadLineError:
  reason = " ".join(reason.split())[:200]
  return lines.BadLineError(
    f"{path}:{num_whole + 1}: the file is broken here ({reason}): copy it again"
  )


def _text(value: bytes, name: str) -> str:
  try:
    return value.decode()
  except UnicodeDecodeError as error:
    raise ValueError(
      f"{name!r} is not UTF-8 (byte {error.start + 1})"
    ) from None
