"""Builds text stores: streaming, whole or not at all, once.

Stores lie side by side in a folder, each under the fingerprint of all it was
made from, so that a changed file makes another store and an unchanged one is
found again.  While it is built, memory holds 24 bytes an entry.
"""

import array
import hashlib
import json
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gtr_jax.files import folders, whole
from gtr_jax.labelled import text_store
from gtr_jax.labelled.ledger import Ledger
from gtr_jax.labelled.text_store import Entry, TextStore

# Takes the ledger of what is left out.
MakeEntries = Callable[[Ledger], Iterable[Entry]]


@dataclass(frozen=True)
class Source:
  """What a store is made from.

  Attributes:
    names: of the files, as messages name them; they decide nothing.
    facts: JSON-able; all that decides what comes out.
    entries: called only if the store is to be built.
    ids_repeat: an id may stand for several entries; otherwise a repeated one
      is an error, or left out and counted.
  """

  names: Sequence[str]
  facts: Mapping[str, Any]
  entries: MakeEntries
  ids_repeat: bool = False


def build(cache: pathlib.Path, source: Source, ledger: Ledger) -> TextStore:
  """Opens the store of this source, which is built if it is not there.

  Args:
    cache: holds any number of stores.
    ledger: what was left out is entered here, also when a store is found
      again.

  Raises:
    lines.BadLineError: an id that stands twice.
  """
  folder = cache / fingerprint_of(
    {
      "facts": dict(source.facts),
      "repeat": source.ids_repeat,
      "bad": ledger.on_bad_line,
    }
  )
  folders.make_once(
    folder,
    text_store.MANIFEST,
    lambda temporary: _write(temporary, source, ledger),
  )
  store = TextStore(folder, source.names)
  for note in store.manifest["notes"]:
    ledger.say(note)
  ledger.left_out.update(store.manifest["left_out"])
  return store


def fingerprint_of(facts: Mapping[str, Any]) -> str:
  content = json.dumps({"format": text_store.FORMAT, **facts}, sort_keys=True)
  return hashlib.sha256(content.encode()).hexdigest()[:24]


def file_facts(path: pathlib.Path) -> dict[str, Any]:
  """What tells one state of a file from another without reading it."""
  status = path.stat()
  return {
    "path": str(path.resolve()),
    "bytes": status.st_size,
    "modified": status.st_mtime_ns,
  }


def _write(directory: pathlib.Path, source: Source, outer: Ledger) -> None:
  notes: list[str] = []
  ledger = Ledger(outer.on_bad_line, notes.append, outer.progress)
  digests, starts = bytearray(), array.array("q", [0])
  counts = {"num_titles": 0, "num_empty": 0}
  with whole.writing(directory / "entries.bin") as stream:
    for entry in source.entries(ledger):
      identifier, title = entry.id.encode(), entry.title.encode()
      header = text_store.HEADER.pack(
        len(identifier), len(title), entry.source, entry.line
      )
      content = b"".join((header, identifier, title, entry.text.encode()))
      stream.write(content)
      starts.append(starts[-1] + len(content))
      digests += text_store.digest(identifier)
      counts["num_titles"] += bool(title)
      counts["num_empty"] += not (entry.text.strip() or entry.title.strip())
  hashes = np.frombuffer(digests, "<u8")
  order = np.argsort(hashes, kind="stable")  # Rows of one hash ascend.
  order = order.astype(np.uint32 if len(order) < 2**32 else np.int64)
  _save(directory, "starts", np.frombuffer(starts, np.int64))
  _save(directory, "hashes", hashes[order])
  _save(directory, "order", order)
  if not source.ids_repeat:
    order = _without_repeated(directory, source, hashes, order, ledger)
    _save(directory, "hashes", hashes[order])
    _save(directory, "order", order)
  ledger.close()
  _finish(directory, source, counts, len(order), ledger, notes)


def _finish(
  directory: pathlib.Path,
  source: Source,
  counts: Mapping[str, int],
  num_indexed: int,
  ledger: Ledger,
  notes: Sequence[str],
) -> None:
  manifest = {
    "format": text_store.FORMAT,
    "sources": list(source.names),
    "num_indexed": num_indexed,
    **counts,
    "left_out": dict(ledger.left_out),
    "notes": list(notes),
  }
  content = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
  whole.write(directory / text_store.MANIFEST, content.encode())


def _without_repeated(
  directory: pathlib.Path,
  source: Source,
  hashes: np.ndarray,
  order: np.ndarray,
  ledger: Ledger,
) -> np.ndarray:
  """The order without the entries whose id an earlier one has."""
  sorted_hashes = hashes[order]
  same = np.flatnonzero(sorted_hashes[1:] == sorted_hashes[:-1]) + 1
  if not len(same):
    return order
  # What a store needs to be read; its counts follow.
  _finish(directory, source, {}, len(order), ledger, [])
  store = TextStore(directory)
  repeated = []
  for place in same.tolist():
    row = int(order[place])
    identifier = store.id_bytes(row)
    before = place - 1
    while before >= 0 and sorted_hashes[before] == sorted_hashes[place]:
      earlier = int(order[before])
      if store.id_bytes(earlier) == identifier:
        entry = store.entry(row)
        ledger.leave_out(
          "repeated_id",
          f"{store.place(entry)}: the id {entry.id!r} is taken by"
          f" {store.place(store.entry(earlier))}",
        )
        repeated.append(place)
        break
      before -= 1
  return np.delete(order, repeated)


def _save(directory: pathlib.Path, name: str, values: np.ndarray) -> None:
  with whole.writing(directory / f"{name}.npy") as stream:
    np.save(stream, values)
