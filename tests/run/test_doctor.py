"""`gtr doctor` on small data whose faults are known."""

import gzip
import json
import re

import pytest

from gtr_jax.data import vocabulary
from gtr_jax.run import doctor

CLEAN = [
  ("how is green tea made", "green tea leaves steep in hot water for minutes"),
  ("who roasts coffee", "coffee beans are roasted and ground by a roaster"),
  ("what sweetens a cup", "milk and sugar sweeten the cup of a tired guest"),
  ("where do lemons grow", "lemons grow in warm gardens beside the calm sea"),
]


@pytest.fixture(scope="module")
def vocabulary_file(tmp_path_factory):
  folder = tmp_path_factory.mktemp("vocabulary")
  texts = [text for pair in CLEAN for text in pair]
  vocabulary.save(vocabulary.train(texts * 20, 400), folder)
  return folder / vocabulary.MODEL_FILE


@pytest.fixture
def examine(call_program, tmp_path, vocabulary_file):
  """(exit status, result, standard error) of records and flags."""

  def call(records, *flags):
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return call_program(
      doctor.main,
      *("--data", path, "--vocabulary", vocabulary_file, "--batch_size", 2),
      *flags,
    )

  return call


@pytest.fixture
def collection(tmp_path):
  """A BEIR folder with one text of the clean pairs, and others."""
  folder = tmp_path / "toy"
  (folder / "qrels").mkdir(parents=True)
  write = lambda name, records: (folder / name).write_text(
    "".join(json.dumps(record) + "\n" for record in records)
  )
  write("queries.jsonl", [
    {"_id": "q1", "text": "Who roasts COFFEE?"},
    {"_id": "q2", "text": "what is a llama"},
    {"_id": "q3", "text": "how is green tea made"},  # Of another split.
  ])  # fmt: skip
  write("corpus.jsonl", [
    {"_id": "d1", "title": "Llama", "text": "an animal of the high mountains"},
    {"_id": "d2", "text": " ".join(f"w{n}" for n in range(20))},
  ])  # fmt: skip
  (folder / "qrels" / "test.tsv").write_text(
    "query-id\tcorpus-id\tscore\nq1\td2\t1\nq2\td1\t1\n"
  )
  return folder


def records(pairs=CLEAN, **more):
  return [{"query": q, "positive": p, **more} for q, p in pairs]


def found(result):
  """Count of each finding, and its places without the folder."""
  return {
    one["name"]: (
      one["count"],
      [re.sub(r"\S*/", "", place["place"]) for place in one["places"]],
    )
    for one in result["findings"]
    if one["count"]
  }


def test_clean_data_has_nothing(examine, collection):
  status, result, error = examine(records()[2:], "--eval", collection)
  assert (status, error) == (0, "")
  assert found(result) == {}
  assert result["pairs"] == 2
  for key in ("truncated", "empty", "duplicates", "overlap"):
    assert result[key] == 0
  assert result["false_negatives_expected"] == 0


@pytest.mark.parametrize(
  "name, more, count, places",
  [
    ("echoes", {"query": "Echo!", "positive": "echo"}, 1, ["pairs.jsonl:5"]),
    (
      "duplicates",
      {"query": CLEAN[0][0] + "?", "positive": CLEAN[0][1]},
      1,
      ["pairs.jsonl:1, pairs.jsonl:5"],
    ),
    (
      "duplicate_queries",
      {"query": CLEAN[1][0], "positive": "a machine in a shop does it"},
      1,
      ["pairs.jsonl:2, pairs.jsonl:5"],
    ),
    (
      "duplicate_passages",
      {"query": "how do I brew leaves", "positive": CLEAN[0][1]},
      1,
      ["pairs.jsonl:1, pairs.jsonl:5"],
    ),
    (
      "contradictions",
      {
        "query": CLEAN[0][0],
        "positive": "boil the leaves in a pot",
        "negatives": [CLEAN[0][1], "a stone"],
      },
      1,
      ["pairs.jsonl:5, pairs.jsonl:1"],
    ),
    (
      "negatives_elsewhere",
      {
        "query": "what do llamas eat",
        "positive": "llamas eat grass all day",
        "negatives": [CLEAN[0][1], "a stone"],
      },
      1,
      [],
    ),
    (
      "html",
      {"query": "what is <b>bold</b>", "positive": "thick letters in print"},
      1,
      ["pairs.jsonl:5"],
    ),
    (
      "nul",
      {"query": "what is nothing", "positive": "a sign\x00 without a shape"},
      1,
      ["pairs.jsonl:5"],
    ),
    (
      "truncated_passage",
      {"query": "what is long", "positive": "water " * 300},
      1,
      ["pairs.jsonl:5"],
    ),
    (
      "truncated_query",
      {"query": "water " * 70, "positive": "a long question of nothing"},
      1,
      ["pairs.jsonl:5"],
    ),
    (
      "bad_lines",
      {"query": "what is missing"},
      1,
      ["pairs.jsonl:5"],
    ),
    ("empty", {"query": "what is empty", "positive": " "}, 1, []),
  ],
)
def test_each_fault_is_found_where_it_is(examine, name, more, count, places):
  status, result, _ = examine([*records(), more])
  assert status == 0
  assert found(result)[name] == (count, places)
  assert name not in found(examine(records())[1])


def test_the_promised_keys_count_texts(examine):
  more = [
    {"query": "water " * 70, "positive": "water " * 300},
    {"query": "", "positive": "nothing was asked"},
    *records(CLEAN[:1] * 2),
  ]
  _, result, _ = examine([*records(), *more])
  assert result["pairs"] == 7
  assert result["truncated"] == 2
  assert result["empty"] == 1
  assert result["duplicates"] == 2
  # Three of seven are one pair: 3 * 2 cells of 42, in 2 of a batch of 2.
  assert result["false_negatives_expected"] == pytest.approx(2 * 6 / 42)
  assert result["false_negatives_masked"] == pytest.approx(2 * 6 / 42)
  assert result["false_negatives_query_share"] == pytest.approx(3 / 7 / 3)


def test_what_the_loss_does_not_mask_is_told(examine):
  more = {"query": CLEAN[0][0].upper(), "positive": "boil leaves in a pot"}
  _, result, _ = examine([*records(), more])
  assert result["false_negatives_expected"] == pytest.approx(2 * 2 / 20)
  # Capital letters are other tokens, so the keys differ.
  assert result["false_negatives_masked"] == 0


def test_ids_tell_what_is_one(examine):
  pairs = [
    {"query": "a b", "positive": "one two three four", "positive_id": "x"},
    {"query": "c d", "positive": "five six seven eight", "positive_id": "x"},
    {"query": "e f", "positive": "nine ten eleven", "positive_id": "y"},
  ]
  _, result, _ = examine(pairs)
  assert found(result)["id_conflicts"] == (1, ["pairs.jsonl:1, pairs.jsonl:2"])
  assert result["false_negatives_expected"] == pytest.approx(2 * 2 / 6)
  assert result["false_negatives_masked"] == pytest.approx(2 * 2 / 6)


def test_overlap_is_of_the_split_and_of_the_corpus(examine, collection):
  run = " ".join(f"w{n}" for n in range(3, 17))
  more = {"query": "what is in the list", "positive": f"it is {run} and more"}
  _, result, _ = examine([*records(), more], "--eval", collection)
  assert result["overlap"] == 2
  assert found(result)["overlap_queries"] == (1, ["pairs.jsonl:2"])
  assert found(result)["overlap_corpus"] == (1, ["pairs.jsonl:5"])
  notes = [
    place["note"]
    for one in result["findings"]
    if one["name"].startswith("overlap")
    for place in one["places"]
  ]
  assert notes == ["toy q1, the whole text", "toy d2, 2 runs"]


def test_nearly_equal_texts_are_found(examine):
  pytest.importorskip("rensa", reason="it compares texts")
  long = " ".join(f"word{number}" for number in range(60))
  pairs = [("first question", long), ("other", f"{long} end")]
  equal = ("yet another", long)  # It is a duplicate, not nearly one.
  _, result, _ = examine([*records(), *records([*pairs, equal])])
  places = ["pairs.jsonl:5, pairs.jsonl:6"]
  assert found(result)["near_duplicate_passages"] == (1, places)
  _, result, _ = examine([*records(), *records(pairs)], "--near_duplicates", 0)
  assert "near_duplicate_passages" in result["not_looked_for"]


def test_languages_are_told(examine):
  pytest.importorskip("pycld2", reason="it knows languages")
  german = (
    "wo wachsen die Zitronen im Winter",
    "Zitronen wachsen in warmen Gärten neben dem ruhigen Meer",
  )
  _, result, _ = examine([*records(), *records([german])])
  assert found(result)["other_languages_passage"][0] == 1


def test_too_few_pairs_for_a_batch(examine):
  _, result, _ = examine(records(), "--batch_size", 5)
  assert found(result)["too_few_pairs"] == (1, [])
  assert result["batch_size"] == 4


@pytest.mark.parametrize(
  "rules, status",
  [
    ("empty", 0),
    ("duplicates", 3),
    ("duplicates>0.3", 0),
    ("duplicates>1", 0),
    ("empty,duplicates>0.1", 3),
  ],
)
def test_fail_on_sets_the_exit_status(examine, rules, status):
  came, result, error = examine(records(CLEAN + CLEAN[:1]), "--fail_on", rules)
  assert came == status
  assert result["failed"] == ([rules.split(",")[-1]] if status else [])
  assert (rules.split(",")[-1] in error) == bool(status)


def test_the_page_is_whole_and_escaped(examine, tmp_path):
  evil = "<script>alert('x')</script>\x00 & \u202e more"
  page = tmp_path / "new" / "page.html"
  status, result, _ = examine(
    [*records(), *records([(evil, evil)])], "--report", page, "--sample", 5
  )
  assert status == 0 and result["report"] == str(page)
  text = page.read_text()
  assert "<script" not in text
  assert "&lt;script&gt;alert" in text
  assert "⟨U+0000⟩" in text and "⟨U+202E⟩" in text
  assert text.count('src="data:image/svg+xml;base64,') == 2
  assert not re.search(r"(src|href)=[\"']?(http|//)", text)
  assert text.endswith("</html>\n")
  for query, _ in CLEAN:  # All five are in the sample.
    assert query in text


def test_no_page_where_the_data_is_bad(examine, tmp_path):
  page = tmp_path / "page.html"
  status, _, error = examine([{"query": "alone"}], "--report", page)
  assert status == 2 and not page.exists()
  assert "pairs.jsonl:1" in error and error.count("\n") == 1


def test_the_sample_is_drawn_by_the_seed(examine, tmp_path):
  pairs = records([(f"question {n}", f"answer of {n}") for n in range(30)])
  texts = []
  for seed in (0, 0, 1):
    page = tmp_path / "page.html"
    examine(pairs, "--report", page, "--sample", 3, "--seed", seed)
    texts.append(page.read_text().partition("A sample to read")[2])
  assert texts[0] == texts[1] != texts[2]


def test_a_bad_line_stops_where_that_is_asked(examine):
  status, _, error = examine(
    [*records(), {"query": "x"}], "--on_bad_line", "error"
  )
  assert status == 2 and "pairs.jsonl:5" in error


def test_a_cut_gzip_stream_is_told(call_program, tmp_path, vocabulary_file):
  path = tmp_path / "pairs.jsonl.gz"
  content = "".join(json.dumps(record) + "\n" for record in records())
  path.write_bytes(gzip.compress(content.encode())[:-12])
  status, _, error = call_program(
    doctor.main, "--data", path, "--vocabulary", vocabulary_file
  )
  assert status == 2 and "gzip stream is broken" in error


@pytest.mark.parametrize(
  "flags, message",
  [
    ((), "nothing to look at"),
    (("--data", "missing.jsonl"), "missing.jsonl: no such file"),
    (("--task", "missing"), "no task 'missing'"),
    (("--task", "x", "--fail_on", "overlap"), "give --eval"),
    (("--task", "x", "--fail_on", "duplicate"), "did you mean duplicates"),
    (("--task", "x", "--eval", "missing"), "missing: no such folder"),
    (("--task", "x", "--batch_size", "0"), "--batch_size is 0"),
    (("--task", "x", "--report", "."), "is a folder"),
  ],
)
def test_mistakes_are_one_line(call_program, flags, message):
  status, _, error = call_program(doctor.main, *flags)
  assert status == 2
  assert message in error and error.count("\n") == 1


def test_a_config_says_how_training_reads(
  call_program, tmp_path, vocabulary_file
):
  path = tmp_path / "pairs.jsonl"
  path.write_text("".join(json.dumps(record) + "\n" for record in records()))
  status, result, _ = call_program(
    doctor.main,
    "--gin_file=experiments/demo_stage1.gin",
    f"--gin.MIXTURE_OR_TASK_NAME='{path}'",
    f"--gin.VOCABULARY='{vocabulary_file}'",
    "--gin.BATCH_SIZE=3",
    "--passage_length=9",
  )
  assert status == 0
  assert result["batch_size"] == 3
  limits = {name: one["limit"] for name, one in result["lengths"].items()}
  assert limits == {"query": 32, "passage": 9}


def test_without_a_vocabulary_one_is_trained(call_program, tmp_path):
  path = tmp_path / "pairs.jsonl"
  path.write_text("".join(json.dumps(one) + "\n" for one in records() * 9))
  status, result, _ = call_program(
    doctor.main, "--data", path, "--vocab_size", 400
  )
  assert status == 0
  assert 0 < result["lengths"]["passage"]["median"] < 30


def test_a_mixture_tells_its_shares_and_epochs(
  call_program, tmp_path, vocabulary_file
):
  paths = [tmp_path / "large.jsonl", tmp_path / "small.jsonl"]
  for path, pairs in zip(paths, (CLEAN[:3], CLEAN[3:]), strict=True):
    with path.open("w") as stream:
      for number, one in enumerate(records(pairs)):
        stream.write(json.dumps({**one, "query_id": number}) + "\n")
  page = tmp_path / "page.html"
  status, result, _ = call_program(
    doctor.main,
    "--gin_file=experiments/demo_stage1.gin",
    f"--gin.MIXTURE_OR_TASK_NAME={{'{paths[0]}': 1, '{paths[1]}': 3}}",
    f"--gin.VOCABULARY='{vocabulary_file}'",
    "--gin.BATCH_SIZE=4",
    "--gin.TRAIN_STEPS=6",
    f"--report={page}",
  )
  assert status == 0 and result["pairs"] == 4
  assert result["mixture"] == [
    {"name": str(paths[1]), "num_pairs": 1, "rate": 0.75, "num_epochs": 18.0},
    {"name": str(paths[0]), "num_pairs": 3, "rate": 0.25, "num_epochs": 2.0},
  ]
  assert "18.00" in page.read_text()
  assert "id_conflicts" not in found(result)  # The id 0 of two tasks is two.


def test_of_several_positives_the_one_that_comes_again_is_shown(examine):
  again = "a passage that comes again in another pair"
  pairs = [
    {"query": "first", "positives": ["one of them stands alone", again]},
    {"query": "second", "positives": ["two of them stand alone", again]},
  ]
  _, result, _ = examine(pairs, "--near_duplicates", 0)
  (finding,) = (
    one for one in result["findings"] if one["name"] == "duplicate_passages"
  )
  assert [place["text"] for place in finding["places"]] == [again]
