"""Other sides: asked by lines, told apart, and missed aloud."""

import io
import json

import pytest

from benchmarks import peer, runner

WORK = {
  "pytorch": ("step", "encode", "texts"),
  "sentence_transformers": ("pairs", "texts"),
  "t5x_retrieval": ("step", "pairs", "encode", "texts"),
}
TINY = ("--size=tiny", "--threads=1", "--encode_rows=8", "--texts=8")


def test_a_line_is_answered_with_the_seconds_of_its_work(monkeypatch, capsys):
  done = []
  monkeypatch.setattr("sys.stdin", io.StringIO("encode\nstep\n"))
  peer.serve(
    "other 1.0",
    {
      "step": lambda: done.append("step"),
      "encode": lambda: done.append("encode"),
    },
  )
  name, *samples = map(json.loads, capsys.readouterr().out.splitlines())
  assert name == {"name": "other 1.0"} and done == ["encode", "step"]
  assert [set(sample) for sample in samples] == [{"wall", "cpu"}] * 2


def test_a_process_that_ends_is_no_library_that_is_missing():
  with pytest.raises(RuntimeError, match="process of nothing_of_the_kind"):
    peer.Peer("nothing_of_the_kind")


def test_what_is_not_here_is_told_with_the_figure(monkeypatch, capsys):
  monkeypatch.setitem(peer.LIBRARIES, "other", ("json", "no_such_library"))
  peers = peer.Peers(["other"])
  assert peers.cases("step") == {}
  peers.show("step", "pairs/s", 8, {"ours": _times(2.0)}, size="tiny")
  (line,) = map(json.loads, capsys.readouterr().out.splitlines())
  assert line["not_here"] == {"other": ["no_such_library"]}
  assert line["value"] == 4 and "beside" not in line


def test_each_other_side_has_a_line(capsys):
  times = {"ours": _times(2.0), "slow": _times(8.0), "fast": _times(1.0)}
  peer.Peers([]).show("step", "pairs/s", 8, times)
  lines = list(map(json.loads, capsys.readouterr().out.splitlines()))
  assert [line["beside"]["name"] for line in lines] == ["slow", "fast"]
  assert [line["ratio"] for line in lines] == [4, 0.5]


@pytest.mark.parametrize("name", WORK)
def test_does_all_that_it_is_asked(name):
  if missing := peer.missing(name):
    pytest.skip(f"runs where there are {', '.join(missing)}")
  other = peer.Peer(name, *TINY)
  for work in WORK[name]:
    assert other.case(work)().wall > 0
  other.close()


def _times(seconds):
  return runner.Times([runner.Sample(seconds, seconds)] * 2)
