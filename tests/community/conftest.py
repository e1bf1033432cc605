import pytest

from gtr_jax.community import blocks


@pytest.fixture
def small_blocks(monkeypatch):
  """Blocks so small that a test's dump has many."""
  monkeypatch.setattr(blocks, "BLOCK_BYTES", 700)
