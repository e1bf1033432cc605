"""Data sets of ir_datasets by their ids, such as msmarco-passage/train.

Pairs of passages (`docpairs`) decide which queries there are where the data set
has them; otherwise it is the judgements.  ir_datasets downloads what is not on
this machine.
"""

import errno
import itertools
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from gtr_jax.files import optional
from gtr_jax.labelled import by_ids, judged, stores, text_store_writer
from gtr_jax.labelled.ledger import Ledger
from gtr_jax.labelled.question import Passage, Question
from gtr_jax.labelled.settings import Settings
from gtr_jax.labelled.text_store import Entry, TextStore

# Fields that hold the text of a passage, the first that there is.
_TEXTS = ("text", "body", "passage")


def questions(
  names: Sequence[str | pathlib.Path], settings: Settings, ledger: Ledger
) -> Iterator[Question]:
  """The questions of one data set.

  Raises:
    ValueError: no such data set, or one without passages, queries or
      judgements.
  """
  if len(names) != 1:
    raise ValueError("give the id of one data set of ir_datasets")
  name = str(names[0])
  dataset = _load(name)
  for part in ("docs", "queries"):
    if not getattr(dataset, f"has_{part}")():
      raise ValueError(
        f"{name}: the data set has no {part}: name a split of it"
      )
  has_pairs = dataset.has_docpairs()
  if not (has_pairs or dataset.has_qrels()):
    raise ValueError(
      f"{name}: the data set has neither qrels nor docpairs: name a split of it"
    )
  passages = _store(name, "docs", dataset.docs_iter, _passage, settings, ledger)
  queries = _store(
    name, "queries", dataset.queries_iter, _query, settings, ledger
  )
  judgements = None
  if dataset.has_qrels():
    judgements = _judgements(name, dataset, queries, passages, settings, ledger)
  if has_pairs:
    joined = stores.Joined(queries, passages, judgements)
    listed = _listed(name, _told(name, dataset.docpairs_iter))
    return by_ids.questions(listed, joined, settings, ledger)
  assert judgements is not None
  return judged.questions(queries, passages, judgements, settings, ledger)


def _load(name: str) -> Any:
  library = optional.load("ir_datasets", "data")
  try:
    return library.load(name)
  except KeyError:
    raise ValueError(
      f"{name}: ir_datasets knows no such data set: its catalogue is at"
      " https://ir-datasets.com"
    ) from None


def _store(
  name: str,
  part: str,
  records: Callable[[], Iterable[Any]],
  entry: Callable[[Any], tuple[str, str, str]],
  settings: Settings,
  ledger: Ledger,
) -> TextStore:
  def entries(_: Ledger) -> Iterator[Entry]:
    for number, record in enumerate(_told(name, records), 1):
      yield Entry(*entry(record), 0, number)

  # ir_datasets' ids are of fixed contents.
  source = text_store_writer.Source(
    [f"{name} {part}"], {"ir_datasets": name, "part": part}, entries
  )
  return text_store_writer.build(settings.cache, source, ledger)


def _told(name: str, records: Callable[[], Iterable[Any]]) -> Iterator[Any]:
  """The records; what keeps the library from them is told.

  Raises:
    ValueError: no network, a source that has moved, a damaged download.
  """
  iterator = None
  while True:
    try:
      # The library downloads here, and its exceptions are of many kinds.
      iterator = iter(records()) if iterator is None else iterator
      record = next(iterator)
    except StopIteration:
      return
    except Exception as error:
      if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        raise
      reason = " ".join(str(error).split())[:200]
      raise ValueError(
        f"{name}: ir_datasets cannot read it ({type(error).__name__}:"
        f" {reason}): look at the network, or put the files where it says"
      ) from None
    yield record


def _passage(record: Any) -> tuple[str, str, str]:
  title = str(getattr(record, "title", "") or "").strip()
  field = next((name for name in _TEXTS if hasattr(record, name)), None)
  if field is None:  # All that there is, as the library joins it.
    return record.doc_id, "", record.default_text()
  return record.doc_id, title, getattr(record, field)


def _query(record: Any) -> tuple[str, str, str]:
  return record.query_id, "", record.default_text()


def _judgements(
  name: str,
  dataset: Any,
  queries: TextStore,
  passages: TextStore,
  settings: Settings,
  ledger: Ledger,
) -> TextStore:
  def read(
    path: pathlib.Path, _: Ledger
  ) -> Iterator[tuple[int, stores.Judgement]]:
    del path
    for number, qrel in enumerate(_told(name, dataset.qrels_iter), 1):
      yield (
        number,
        stores.Judgement(qrel.query_id, qrel.doc_id, float(qrel.relevance)),
      )

  return stores.judgements(
    [pathlib.Path(f"{name} qrels")],
    read,
    queries,
    passages,
    settings,
    ledger,
    of_files=False,
  )


def _listed(name: str, pairs: Iterable[Any]) -> Iterator[by_ids.Listed]:
  numbered = enumerate(pairs, 1)
  for query, rows in itertools.groupby(numbered, lambda row: row[1].query_id):
    group = list(rows)
    place = f"{name} docpairs:{group[0][0]}"
    positives = list(dict.fromkeys(pair.doc_id_a for _, pair in group))
    negatives = [
      Passage(pair.doc_id_b, None, place=f"{name} docpairs:{number}")
      for number, pair in group
    ]
    yield by_ids.Listed(query, by_ids.Named(positives, place), negatives, place)
