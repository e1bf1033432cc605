"""SeqIO tasks of text pairs.  Nothing is registered until a function is called.

A user's module may register any other task or mixture with the features that
`preprocessors.py` lists; `tasks_reader.py` reads them all alike.
"""

import functools
import os
from collections.abc import (
  Callable,
  Iterable,
  Iterator,
  Mapping,
  Sequence,
)
from typing import Any

import seqio
import tensorflow as tf

from gtr_jax.data import pair_measures, preprocessors, python_docs, sources
from gtr_jax.data.pair import Pair
from gtr_jax.files import lines

SPLIT = "train"


def jsonl_task(
  name: str,
  paths: Sequence[str | os.PathLike[str]],
  vocabulary_path: str | os.PathLike[str],
  *,
  query_prompt: str = "",
  passage_prompt: str = "",
  on_bad_line: lines.OnBadLine = "error",
) -> seqio.Task:
  """Registers a task of JSONL files, read as strictly as `sources` does."""
  files = [os.fspath(path) for path in paths]
  return pairs_task(
    name,
    lambda: sources.read_pairs(files, on_bad_line),
    vocabulary_path,
    query_prompt=query_prompt,
    passage_prompt=passage_prompt,
  )


def python_docs_tasks(
  vocabulary_path: str | os.PathLike[str],
) -> tuple[seqio.Task, seqio.Task]:
  """Registers `python_docs_stage1` and `python_docs_stage2`."""
  return (
    pairs_task("python_docs_stage1", python_docs.stage1_pairs, vocabulary_path),
    pairs_task("python_docs_stage2", python_docs.stage2_pairs, vocabulary_path),
  )


def mixture(name: str, rates: Mapping[str, float]) -> seqio.Mixture:
  """Registers a mixture of registered tasks."""
  return seqio.MixtureRegistry.add(name, list(rates.items()))


def pairs_task(
  name: str,
  make_pairs: Callable[[], Iterable[Pair]],
  vocabulary_path: str | os.PathLike[str],
  *,
  query_prompt: str = "",
  passage_prompt: str = "",
) -> seqio.Task:
  """Registers a task that reads pairs from a function.

  Args:
    make_pairs: called anew for every reading.
    vocabulary_path: a SentencePiece model file.
  """
  vocabulary = seqio.SentencePieceVocabulary(os.fspath(vocabulary_path))
  text = seqio.Feature(vocabulary, add_eos=True)
  texts = seqio.Feature(vocabulary, add_eos=True, rank=2)
  # SeqIO's own annotations do not agree on whether a source knows its size.
  source: Any = seqio.FunctionDataSource(
    functools.partial(_dataset, make_pairs=make_pairs), splits=[SPLIT]
  )
  return seqio.TaskRegistry.add(
    name,
    source=source,
    preprocessors=[
      preprocessors.to_features,
      # Texts are kept, so that a cache serves any prompts and lengths.
      seqio.CacheDatasetPlaceholder(),
      functools.partial(
        preprocessors.add_prompts,
        query_prompt=query_prompt,
        passage_prompt=passage_prompt,
      ),
      preprocessors.tokenize,
    ],
    output_features={
      "inputs": text,
      "targets": text,
      "other_targets": texts,
      "negative_targets": texts,
    },
    # For the evaluators of SeqIO and T5X; `gtr` asks for none.
    metric_fns=[pair_measures.retrieval],
  )


def _dataset(
  split: str,
  shuffle_files: bool,
  seed: int | None = None,
  *,
  make_pairs: Callable[[], Iterable[Pair]],
) -> tf.data.Dataset:
  """The pairs as a data set; order is the business of who reads it."""
  del split, shuffle_files, seed
  text = tf.TensorSpec([], tf.string)
  texts = tf.TensorSpec([None], tf.string)
  return tf.data.Dataset.from_generator(
    lambda: _records(make_pairs()),
    output_signature={
      "query": text,
      "positives": texts,
      "negatives": texts,
      "query_id": text,
      "positive_ids": texts,
      "negative_ids": texts,
    },
  )


def _records(pairs: Iterable[Pair]) -> Iterator[dict[str, object]]:
  for pair in pairs:
    yield {
      "query": pair.query,
      "positives": pair.positives,
      "negatives": pair.negatives,
      "query_id": pair.query_id or "",
      "positive_ids": pair.positive_ids or [""] * len(pair.positives),
      "negative_ids": pair.negative_ids or [""] * len(pair.negatives),
    }
