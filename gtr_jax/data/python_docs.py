"""`python_docs`: pairs and test collections from the running Python's own docs.

Works on every machine and without a network.  The docstrings of the standard
library's sources train and test; those of installed packages test out of
domain.  Modules go whole into one split, no training text has eight words in a
row in common with a test text, and the same Python gives the same bytes.
"""

import functools
import sys
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Literal, get_args
from zlib import crc32

from gtr_jax.data import (
  bm25_negatives,
  docstrings,
  documentation,
  overlap,
  prose,
  weak_pairs,
)
from gtr_jax.data.docstrings import Definition
from gtr_jax.data.documentation import Collection
from gtr_jax.data.pair import Pair

Split = Literal["train", "dev", "test", "out_of_domain"]

# Tests, programs, other people's code: names of folders and files.
SKIPPED = frozenset(
  {
    *("test", "testing", "tests", "idle_test", "idlelib", "turtledemo"),
    *("ensurepip", "site-packages", "dist-packages", "__pycache__"),
    *("_vendor", "_vendored", "extern", "externals"),
  }
)
# Of the salts 0 to 2999 the one that brings the documents of Python 3.11, 3.12
# and 3.13 nearest to 68, 10 and 22 % with no module large in a test set.
SALT = 1758
TEST_PERCENT = 22
DEV_PERCENT = 10
# Of the documents that BM25 finds: the best of them often answer the query too,
# although nobody wrote them for it.
NUM_SKIPPED = 5

PACKAGES = (
  *("numpy", "scipy", "matplotlib", "PIL", "absl", "requests"),
  *("jax", "flax", "optax", "orbax", "seqio"),
)
MAX_DOCUMENTS_OF_PACKAGE = 250
MAX_QUERIES_OUT_OF_DOMAIN = 1000


@dataclass(frozen=True, eq=False)
class Library:
  """The documentation of one tree of sources, split by module.

  Attributes:
    modules: definitions of each module to train on.
    is_held_out: whether a text has words in common with `dev` or `test`.
  """

  modules: tuple[tuple[Definition, ...], ...]
  train: Collection
  dev: Collection
  test: Collection
  is_held_out: Callable[[str], bool]


def stage1_pairs() -> Iterator[Pair]:
  """Wide and noisy: names, messages, comments, headings → documentation.

  A query with several passages makes several pairs.

  Raises:
    ValueError: this Python came without the sources of its library.
  """
  return iter(noisy_pairs(standard_library()))


def stage2_pairs(num_negatives: int = 4) -> Iterator[Pair]:
  """Narrow and clean: an opening sentence → the rest, with hard negatives.

  The texts are docstrings, their longer paragraphs and comments.

  Args:
    num_negatives: at most that many, found by BM25 among the training bodies.

  Raises:
    ValueError: this Python came without the sources of its library.
  """
  return clean_pairs(standard_library(), num_negatives)


def write_collection(directory: str | Path, split: Split) -> dict[str, int]:
  """Writes a folder of BEIR's layout and returns how much is in it.

  A query is a docstring's summary, its document the body.  Ids are qualified
  names; titles are empty, because a name gives the answer away.  The judgements
  of out_of_domain are in qrels/test.tsv.

  Raises:
    ValueError: no such split, or nothing installed that could fill it.
  """
  if split not in get_args(Split):
    raise ValueError(
      f"got split {split!r}: one of {', '.join(get_args(Split))} was due"
    )
  library = standard_library()
  if split == "out_of_domain":
    collection, name = out_of_domain(_site_folders(), library), "test"
  else:
    collection, name = getattr(library, split), split
  documentation.write(collection, Path(directory), name)
  return collection.counts()


def standard_library() -> Library:
  return read_library(Path(sysconfig.get_path("stdlib")))


def split_of(module: str) -> Split:
  """The split of a dotted module name: that of its outermost package.

  Twins such as io and _pyio, decimal and _pydecimal stay together.
  """
  package = module.split(".")[0]
  family = package.removeprefix("_py").lstrip("_").split("_")[0]
  place = crc32(f"{SALT}/{family}".encode()) % 100
  if place < TEST_PERCENT:
    return "test"
  return "dev" if place < TEST_PERCENT + DEV_PERCENT else "train"


@functools.cache
def read_library(root: Path) -> Library:
  """Reads and splits a tree of sources, once in a process."""
  modules: dict[Split, list[tuple[Definition, ...]]]
  modules = {"train": [], "dev": [], "test": []}
  for path in docstrings.find_files(root, SKIPPED):
    if definitions := docstrings.read_definitions(path, root):
      modules[split_of(definitions[0].module)].append(tuple(definitions))
  test = documentation.collect(chain(*modules["test"]))
  held_out = overlap.all_runs(test.texts())
  dev = documentation.collect(chain(*modules["dev"]), held_out)
  held_out |= overlap.all_runs(dev.texts())
  whole = list(chain(*modules["train"]))
  parts = chain.from_iterable(map(documentation.sections, whole))
  train = documentation.collect(chain(whole, parts), held_out)
  if not (train.queries and dev.queries and test.queries):
    raise ValueError(
      f"found {len(train.queries)} training, {len(dev.queries)} dev and"
      f" {len(test.queries)} test docstrings below {root}, some of each were"
      " due: install the sources of Python's standard library"
    )
  is_held_out = functools.cache(lambda text: overlap.overlaps(text, held_out))
  return Library(tuple(modules["train"]), train, dev, test, is_held_out)


@functools.cache
def noisy_pairs(library: Library) -> tuple[Pair, ...]:
  """Stage 1's pairs of a library, each pair of texts once."""
  pairs: dict[tuple[overlap.Run, overlap.Run], Pair] = {}
  for definitions in library.modules:
    for query, passage in weak_pairs.module_pairs(definitions):
      if not any(map(library.is_held_out, (query, passage))):
        key = (prose.words(query), prose.words(passage))
        pairs.setdefault(key, Pair(query, (passage,)))
  return tuple(pairs.values())


def clean_pairs(library: Library, num_negatives: int) -> Iterator[Pair]:
  """Stage 2's pairs of a library, with the ids of its training collection."""
  train = library.train
  negatives = bm25_negatives.hard_negatives(train, num_negatives, NUM_SKIPPED)
  for query_id, query in train.queries.items():
    positive_ids, negative_ids = train.relevant[query_id], negatives[query_id]
    yield Pair(
      query=query,
      positives=tuple(train.documents[name] for name in positive_ids),
      negatives=tuple(train.documents[name] for name in negative_ids),
      query_id=query_id,
      positive_ids=positive_ids,
      negative_ids=negative_ids,
    )


def out_of_domain(folders: Sequence[Path], library: Library) -> Collection:
  """The collection of well-known packages installed in some folders.

  What shares words with the library, such as a copy of its code, is left out.
  """
  definitions = [
    definition
    for package in PACKAGES
    for definition in _package_definitions(folders, package)
  ]
  candidates = overlap.all_runs(documentation.collect(definitions).texts())
  known = chain(
    chain.from_iterable(map(_texts, noisy_pairs(library))),
    *(part.texts() for part in (library.train, library.dev, library.test)),
  )
  shared = {run for text in known for run in overlap.runs(text)} & candidates
  collection = documentation.collect(definitions, shared)
  if not collection.queries:
    raise ValueError(
      f"found no docstring of {', '.join(PACKAGES)}, some were due: install one"
      " of them for the split out_of_domain"
    )
  return documentation.sample_queries(collection, MAX_QUERIES_OUT_OF_DOMAIN)


def _texts(pair: Pair) -> tuple[str, ...]:
  return (pair.query, *pair.positives)


def _site_folders() -> list[Path]:
  """Where packages are installed, in the order in which Python looks."""
  folders = [Path(entry) for entry in sys.path]
  return [f for f in folders if f.name in ("site-packages", "dist-packages")]


def _package_definitions(
  folders: Sequence[Path], package: str
) -> Iterator[Definition]:
  """Definitions of some files of a package, drawn by a hash of their paths."""
  root = next((f for f in folders if (f / package).is_dir()), None)
  if root is None:
    return
  files = {
    path.relative_to(root).as_posix(): path
    for path in docstrings.find_files(root / package, SKIPPED)
  }
  num_documents = 0
  for name in sorted(files, key=lambda name: (crc32(name.encode()), name)):
    for definition in docstrings.read_definitions(files[name], root):
      if num_documents == MAX_DOCUMENTS_OF_PACKAGE:
        return
      num_documents += documentation.is_documented(definition)
      yield definition
