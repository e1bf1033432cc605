"""Damaged files give pairs or one clear line, in every format."""

import gzip
import json
import random

import pytest

from gtr_jax.files import lines


def records(*items):
  return "".join(json.dumps(item) + "\n" for item in items)


MSMARCO = {
  "collection.tsv": "0\tzero é\n1\tone\n2\ttwo\n",
  "queries.train.tsv": "10\tten ?\n11\televen ?\n",
  "qrels.train.tsv": "10\t0\t0\t1\n11\t0\t1\t1\n",
}
INPUTS = {
  "msmarco": MSMARCO,
  "msmarco with negatives": {
    **MSMARCO,
    "hard-negatives.jsonl": records(
      {"qid": 10, "pos": [0], "neg": {"a": [1, {"pid": 2, "ce-score": 1.5}]}}
    ),
    "scores.json": '{"10": {"0": 4.5, "1": -1}, "11": {}}',
  },
  "msmarco with triples": {
    **MSMARCO,
    "qidpidtriples.train.full.2.tsv": "10\t0\t1\n10\t0\t2\n11\t1\t2\n",
  },
  "msmarco compressed": {
    f"{name}.gz": gzip.compress(content.encode())
    for name, content in MSMARCO.items()
  },
  "rocketqa": {
    "para.txt": "0\tzero\n1\tone\n",
    "para.title.txt": "0\tA title\n1\t-\n",
    "train.query.txt": "10\tten ?\n",
    "qrels.train.tsv": "10\t0\n10\t1\n",
  },
  "rocketqa's training": {
    "x_de1.tsv": "a ?\tT\tyes\t-\tno\t0\nb ?\t-\tja\tT\tnein\t0\n"
  },
  "rocketqa's labels": {
    "x_ce0.tsv": "a ?\tT\tyes\t1\nb ?\t-\tja\t1\na ?\t-\tno\t0\n"
  },
  "tevatron": {
    "x.jsonl": records(
      {
        "query_id": "7",
        "query": "é ?",
        "positive_passages": [{"docid": "1", "title": "T", "text": "yes"}],
        "negative_passages": [{"docid": "2", "title": "-", "text": "no"}],
      }
    )
  },
  "sentence-transformers": {
    "x.jsonl": records(
      {"query": "q", "positive": "p", "negative_1": "n", "scores": [0.5, 1]},
      {"query": "q", "passages": ["a", "b"], "labels": [1, 0]},
    )
  },
  "nq": {
    "x.json": json.dumps(
      [
        {
          "question": "who ?",
          "positive_ctxs": [{"title": "T", "text": "é", "psg_id": "1"}],
          "hard_negative_ctxs": [{"title": "", "text": "no"}],
        }
      ]
    )
  },
}
JSON_LIBRARY = ("nq", "msmarco with negatives")


def damaged(content: bytes, rng: random.Random) -> bytes:
  """One to three bytes flipped, a piece cut out or doubled, an end cut off."""
  kind = rng.randrange(5)
  start, stop = sorted(rng.choices(range(len(content) + 1), k=2))
  if kind == 0:
    return content[:start]
  if kind == 1:
    return content[:start] + content[stop:]
  if kind == 2:
    return content[:stop] + content[start:]
  changed = bytearray(content)
  for _ in range(rng.randint(1, 3)):
    place = rng.randrange(len(content))
    wild = rng.choice(b'\0\t\n\r"{}[],:\\\xff\xed0-')
    changed[place] = wild if kind == 3 else rng.randrange(256)
  return bytes(changed)


@pytest.mark.parametrize("name", INPUTS)
def test_pairs_or_one_line(read, write, name, monkeypatch):
  if name in JSON_LIBRARY:
    pytest.importorskip("ijson", reason="of the extra `data`")
  # Nothing here is to outlive a crash.
  monkeypatch.setattr("os.fsync", lambda descriptor: None)
  format = name.split()[0].removesuffix("'s")
  rng = random.Random(name)
  outcomes = set()
  for turn in range(25):
    files = {
      file: content if isinstance(content, bytes) else content.encode()
      for file, content in INPUTS[name].items()
    }
    victim = rng.choice(sorted(files))
    files[victim] = damaged(files[victim], rng)
    folder = write(
      f"turn{turn}",
      **{f.replace(".", "__"): content for f, content in files.items()},
    )
    is_folder = format in ("msmarco", "rocketqa")
    inputs = [folder] if is_folder else sorted(folder.iterdir())
    for mode in ("error", "skip"):
      try:
        result = read(format, *inputs, on_bad_line=mode)
      except ValueError as error:
        outcomes.add("error")
        message = str(error)
        assert "\n" not in message and len(message) < 1000
        assert str(folder) in message or not isinstance(
          error, lines.BadLineError
        )
      else:
        outcomes.add("pairs")
        for labelled in result.pairs:
          json.dumps(vars(labelled.pair), ensure_ascii=False).encode()
          assert labelled.pair.query.strip() and labelled.pair.positives
  assert outcomes == {"error", "pairs"}
