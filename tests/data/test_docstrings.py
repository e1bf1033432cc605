import concurrent.futures
import gc
import sys

import pytest

from gtr_jax.data import docstrings
from gtr_jax.data.docstrings import Definition

TOPIC = "An assertion checks. " * 10
SOURCE = f'''
"""The module."""

# Around the
# module.
TEXT = """
# no comment
"""
TOPICS = {{"assert": "{TOPIC}", "short": "No."}}


# Above the class.
@decorator(
  1
)
class Reader:
  """Reads."""

  if True:
    def read(self, size, *, strict=False):
      """Reads bytes."""
      # In the
      #   function.
      try:
        pass
      except OSError:
        # In the handler.
        raise ValueError(f"got {{size}} bytes") from None
      async def inner(cls): pass
'''


@pytest.fixture
def write(tmp_path):
  def write_file(name, content):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
      content if isinstance(content, bytes) else content.encode()
    )
    return path

  return write_file


def test_reads_what_stands_in_a_source(write, tmp_path):
  path = write("package/code.py", SOURCE)
  assert docstrings.read_definitions(path, tmp_path) == [
    Definition(
      "package.code", "", "The module.", remarks=("Around the\nmodule.",)
    ),
    Definition("package.code", "Reader", "Reads.", comment="Above the class."),
    Definition(
      "package.code",
      "Reader.read",
      "Reads bytes.",
      parameters=("size", "strict"),
      remarks=("In the\n  function.", "In the handler."),
      messages=("got   bytes",),
    ),
    Definition("package.code", "Reader.read.inner", ""),
    Definition("package.code", "assert", TOPIC),
  ]


def test_full_name_of_a_module_is_its_name(write, tmp_path):
  path = write("package/__init__.py", '"""Text."""')
  (module,) = docstrings.read_definitions(path, tmp_path)
  assert module.full_name == "package"
  assert Definition("a.b", "C.d", "").full_name == "a.b.C.d"


@pytest.mark.parametrize(
  "content",
  [
    b"def broken(:",
    b"\xff\xfe not utf-8",
    b"# coding: no-such-encoding\n",
    b"null \x00 byte",
    b"print 'Python 2'",
  ],
)
def test_what_does_not_parse_has_no_definitions(write, tmp_path, content):
  assert docstrings.read_definitions(write("bad.py", content), tmp_path) == []


def test_warns_of_nothing_and_reads_declared_encodings(write, tmp_path):
  source = '# coding: latin-1\n"""Caf\xe9 \\d."""\n'.encode("latin-1")
  (module,) = docstrings.read_definitions(write("old.py", source), tmp_path)
  assert module.docstring == "Caf\xe9 \\d."


def test_finds_sources_in_order_without_skipped_names(write, tmp_path):
  for name in ("b.py", "a/z.py", "a/test/x.py", "a/test.py", "a.py", "a/n.txt"):
    write(name, "")
  found = docstrings.find_files(tmp_path, frozenset({"test"}))
  assert [path.relative_to(tmp_path).as_posix() for path in found] == [
    "a.py",
    "a/z.py",
    "b.py",
  ]


def test_threads_may_read_at_the_same_time(tmp_path):
  """Where the collector runs Python code in the middle of a tree, as JAX's
  callback does, Python 3.11 mixes up the depths of two threads' trees."""
  source = "def f(x):\n  return [x, (x + 1) * [2 * x + 3]]\n" * 300
  path = tmp_path / "many.py"
  path.write_text(source)
  run_python = lambda *_: sum(range(1000))
  gc.callbacks.append(run_python)
  before = sys.getswitchinterval(), gc.get_threshold()
  sys.setswitchinterval(1e-5)
  gc.set_threshold(100)
  try:
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
      found = pool.map(
        lambda _: len(docstrings.read_definitions(path, tmp_path)), range(8)
      )
      assert set(found) == {301}
  finally:
    sys.setswitchinterval(before[0])
    gc.set_threshold(*before[1])
    gc.callbacks.remove(run_python)
