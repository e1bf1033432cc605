"""Libraries that only some programs need, loaded when they are needed."""

import importlib
from typing import Any


def load(module: str, extra: str) -> Any:
  """The module, imported now.

  Args:
    extra: the extra of gtr_jax that installs it.

  Raises:
    ValueError: it is not installed.
  """
  try:
    return importlib.import_module(module)
  except ModuleNotFoundError as error:
    raise ValueError(
      f"{error.name} is not installed: pip install 'gtr_jax[{extra}]'"
    ) from None
