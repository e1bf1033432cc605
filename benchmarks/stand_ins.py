"""Stand-ins for what T5X and T5X Retrieval import and do not use here.

`python -m benchmarks.stand_ins MODULE ARGUMENT...` runs a module with them:
`t5x.train`, say.
"""

import importlib.abc
import importlib.machinery
import runpy
import sys
import types

# Imported at the head of their files, used by nothing that runs here.  Taken
# where they are installed.
_UNUSED = (
  "airio",
  "aqt",
  "flax.optim",
  "jestimator",
  "sklearn",
  "t5",
  "tensorboard",
)


def install() -> None:
  """From now on, who imports one that is not installed gets a stand-in."""
  if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
    sys.meta_path.append(_Finder())


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
  """Last of all finders: gives modules that are not installed."""

  def __init__(self):
    self._absent: set[str] = set()

  def find_spec(self, fullname, path=None, target=None):
    if fullname in _UNUSED:  # And no finder before this one had it.
      self._absent.add(fullname)
    if any(f"{fullname}.".startswith(f"{name}.") for name in self._absent):
      return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
    return None

  def create_module(self, spec):
    return _AbsentModule(spec.name)

  def exec_module(self, module):
    pass


class _AbsentModule(types.ModuleType):
  def __getattr__(self, name: str) -> type:
    return getattr(_Absent(self.__name__, (), {}), name)


class _Absent(type):
  """A class that has whatever class is asked of it."""

  def __getattr__(cls, name: str) -> type:
    if name.startswith("__"):
      raise AttributeError(name)
    return _Absent(name, (), {})


if __name__ == "__main__":
  install()
  del sys.argv[0]
  runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
