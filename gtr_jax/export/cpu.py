"""The CPU, on which exports are written and checked whatever JAX runs on."""

from typing import Any

import jax


def device() -> Any:  # A jax.Device, which is no type to a checker.
  """The first CPU device of this process.

  Raises:
    ValueError: JAX was told to leave the CPU alone.
  """
  try:
    return jax.local_devices(backend="cpu")[0]
  except RuntimeError:
    raise ValueError(
      "JAX may not use the CPU, on which exports are written and checked: add"
      " cpu to JAX_PLATFORMS, or unset it"
    ) from None
