import subprocess
import sys

CODE = """
import sys
sys.path.insert(0, sys.argv[1])
from benchmarks import stand_ins
stand_ins.install()
stand_ins.install()
from jestimator import amos
import flax.optim
print(issubclass(amos.State, object), amos.State.field.__name__)
for name in ("airio.core", "no_such_library"):
  try:
    __import__(name)
  except ModuleNotFoundError as error:
    print(error.name)
import airio
print(airio.REAL, len([f for f in sys.meta_path if "stand_ins" in repr(f)]))
"""


def test_only_what_is_listed_and_not_installed(tmp_path):
  """A library that is there stays itself, also where a part of it is not."""
  (tmp_path / "airio").mkdir()
  (tmp_path / "airio" / "__init__.py").write_text("REAL = True")
  done = subprocess.run(
    [sys.executable, "-c", CODE, str(tmp_path)],
    capture_output=True,
    text=True,
    check=True,
  )
  assert done.stdout.splitlines() == [
    "True field",
    "airio.core",
    "no_such_library",
    "True 1",
  ]
