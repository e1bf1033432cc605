import jax
import pytest

from gtr_jax.export import cpu


def test_the_cpu():
  assert cpu.device() == jax.devices("cpu")[0]


def test_a_jax_without_a_cpu_is_told(monkeypatch):
  def missing(backend):
    raise RuntimeError(f"Unknown backend {backend}")

  monkeypatch.setattr(jax, "local_devices", missing)
  with pytest.raises(ValueError, match="add cpu to JAX_PLATFORMS"):
    cpu.device()
