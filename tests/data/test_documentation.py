import json

from gtr_jax.data import documentation, overlap
from gtr_jax.data.docstrings import Definition
from gtr_jax.data.documentation import Collection

BODY = "The file must be open, and nobody else may write to it."
OTHER = "This method does nothing where there is no lock to take."


def define(name, summary, body=""):
  return Definition("module", name, f"{summary}\n\n{body}")


def test_summaries_ask_and_bodies_answer():
  definitions = [
    define("read", "Read the whole file.", BODY),
    define("no_body", "Read the whole file slowly."),
    define("short_body", "Read it to the end.", "Not for pipes."),
    define("short_summary", "Locks.", OTHER),
  ]
  assert documentation.collect(definitions) == Collection(
    documents={"module.read": BODY},
    queries={"q/module.read": "Read the whole file."},
    relevant={"q/module.read": ("module.read",)},
  )


def test_equal_texts_are_one():
  definitions = [
    define("read", "Read the whole file.", BODY),
    define("read", "Read the whole file!", OTHER),
    define("peek", "Look at the file.", BODY.upper()),
  ]
  collection = documentation.collect(definitions)
  assert collection.documents == {"module.read": BODY, "module.read#2": OTHER}
  assert collection.relevant == {
    "q/module.read": ("module.read", "module.read#2"),
    "q/module.peek": ("module.read",),
  }
  assert collection.counts() == {
    "documents": 2,
    "queries": 2,
    "judgements": 3,
  }


def test_a_summary_of_many_bodies_asks_nothing():
  numbers = ("first", "second", "third", "fourth")
  definitions = [
    define(name, "Return a new copy.", f"{BODY} It is the {name}.")
    for name in numbers
  ]
  collection = documentation.collect(definitions)
  assert len(collection.documents) == 4
  assert not collection.queries
  assert not collection.relevant


def test_excluded_texts_stay_out():
  definitions = [
    define("read", "Read the whole file.", f"Note well: {BODY}"),
    define("lock", "Take the lock now.", OTHER),
    define("free", "Give the lock back.", "From then on it is free for all."),
  ]
  excluded = overlap.all_runs([BODY, "take the lock NOW"])
  collection = documentation.collect(definitions, excluded)
  assert list(collection.documents) == ["module.free"]


def test_sections_are_later_paragraphs_and_comments():
  definition = Definition(
    "module",
    "read",
    f"Read the file. It may be long.\n\n{BODY} {OTHER}",
    comment="Nobody calls this.",
    remarks=("One.\n\nTwo.",),
  )
  sections = list(documentation.sections(definition))
  assert [section.docstring for section in sections] == [
    f"{BODY} {OTHER}",
    "Nobody calls this.",
    "One.",
    "Two.",
  ]
  assert {section.full_name for section in sections} == {"module.read"}


def test_a_sample_keeps_documents_order_and_choice():
  names = [str(number) for number in range(20)]
  collection = Collection(
    documents=dict.fromkeys(names, BODY),
    queries={f"q/{name}": name for name in names},
    relevant={f"q/{name}": (name,) for name in names},
  )
  sample = documentation.sample_queries(collection, 5)
  assert sample.documents == collection.documents
  assert list(sample.queries) == [
    q for q in collection.queries if q in sample.queries
  ]
  assert len(sample.queries) == 5
  assert set(sample.relevant) == set(sample.queries)
  # The smaller sample is in the larger one: a query's hash decides.
  larger = documentation.sample_queries(collection, 9)
  assert set(sample.queries) < set(larger.queries)


def test_writes_the_layout_of_beir(tmp_path):
  collection = Collection(
    documents={"a": "Caf\xe9.", "b": OTHER},
    queries={"q/a": "Where?"},
    relevant={"q/a": ("a", "b")},
  )
  documentation.write(collection, tmp_path / "new", "dev")
  files = sorted(p.name for p in tmp_path.rglob("*") if p.is_file())
  assert files == ["corpus.jsonl", "dev.tsv", "queries.jsonl"]
  corpus = (tmp_path / "new/corpus.jsonl").read_text().splitlines()
  assert list(map(json.loads, corpus)) == [
    {"_id": "a", "title": "", "text": "Caf\xe9."},
    {"_id": "b", "title": "", "text": OTHER},
  ]
  queries = (tmp_path / "new/queries.jsonl").read_text()
  assert json.loads(queries) == {"_id": "q/a", "text": "Where?"}
  assert (tmp_path / "new/qrels/dev.tsv").read_text() == (
    "query-id\tcorpus-id\tscore\nq/a\ta\t1\nq/a\tb\t1\n"
  )
