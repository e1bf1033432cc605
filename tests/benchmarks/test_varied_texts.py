"""Varied texts: as many as asked, of all kinds, the same every time."""

import gzip
import json
import unicodedata

from benchmarks import varied_texts


def test_texts_are_of_all_kinds(tmp_path):
  file = tmp_path / "pairs.jsonl.gz"
  records = [
    {"query": f"question {n}", "positive": "an answer"} for n in range(9)
  ]
  with gzip.open(file, "wt") as stream:
    stream.writelines(json.dumps(record) + "\n" for record in records)
  texts = varied_texts.texts(3_000, [file])
  assert len(texts) == 3_000 and texts == varied_texts.texts(3_000, [file])
  assert texts[:2] == ["an answer", "question 0"]
  assert "" in texts and max(map(len, texts)) > 2_000
  characters = set("".join(texts))
  kinds = {unicodedata.category(character) for character in characters}
  assert kinds >= {"Lo", "Mn", "Cc", "Cf", "Zs", "Nd", "So", "Co", "Cn"}
  assert len({ord(c) // 128 for c in characters}) > 300
  joined = "\n".join(texts)
  assert "!!!!!!" in joined and "</s>" in joined
