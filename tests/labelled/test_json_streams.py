"""Large JSON is what `json` makes of it, whatever the size of the pieces."""

import io
import json
import random

import pytest

from gtr_jax.files import lines
from gtr_jax.labelled import json_streams

pytest.importorskip("ijson", reason="of the extra `data`")

VALUES = [
  "a",
  "é \U0001f600",
  "back\\slash \\ud800 as text",
  "\\",
  "\ud800",
  "x\ud800y",
  "\ud83d\ude00 \ud800",
  3,
  1.5,
  None,
  True,
  {},
  [],
  {"a": [1, {"b": ["c", [[]]]}], "a\ud800": 2},
]


def test_items_and_members(tmp_path):
  path = tmp_path / "x.json"
  path.write_text(json.dumps(VALUES))
  due = json.loads(path.read_text())
  assert list(json_streams.items(path)) == list(enumerate(due, 1))
  path.write_text(json.dumps({str(n): v for n, v in enumerate(VALUES)}))
  assert [v for _, _, v in json_streams.members(path)] == due


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 12, 13, 100])
def test_pieces_of_any_size(size):
  content = json.dumps(VALUES * 3).encode() + b"\\" * 30
  marked = json_streams._Marked(io.BytesIO(content))
  pieces = list(iter(lambda: marked.read(size), b""))
  whole = json_streams._Marked(io.BytesIO(content)).read(len(content) + 1)
  whole += b"\\" * (len(content) - len(whole))  # Held back at the end.
  assert b"".join(pieces) == whole and len(whole) == len(content)


def test_deep_nesting_is_refused(tmp_path):
  path = tmp_path / "x.json"
  for depth, is_fine in ((90, True), (110, False), (300_000, False)):
    path.write_text("[" * depth + "]" * depth)
    if is_fine:
      assert len(list(json_streams.items(path))) == 1
    else:
      with pytest.raises(lines.BadLineError, match="nested deeper"):
        list(json_streams.items(path))


def test_random_values(tmp_path):
  rng = random.Random(0)

  def value(depth):
    kind = rng.randrange(6 if depth < 4 else 4)
    if kind < 2:
      return "".join(rng.choices('ab"\\é\ud800\udc00u/', k=rng.randrange(6)))
    if kind == 2:
      return rng.randrange(-9, 9)
    if kind == 3:
      return rng.choice([None, True, False, 0.25])
    if kind == 4:
      return [value(depth + 1) for _ in range(rng.randrange(4))]
    return {str(n): value(depth + 1) for n in range(rng.randrange(4))}

  path = tmp_path / "x.json"
  for _ in range(100):
    path.write_text(json.dumps([value(0), value(0)]))
    found = [item for _, item in json_streams.items(path)]
    due = json.loads(path.read_text())
    # Which half of a character it was is not kept.
    assert json.dumps(found).replace("udc00", "ud800") == json.dumps(
      due
    ).replace("udc00", "ud800")
