"""Eight CPU devices and strict JAX for every test."""

import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Tests compile much and compute little: a third of the time goes without LLVM.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

import jax
import pytest

from gtr_jax import partitioning

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")


SHARED = pathlib.Path(__file__).parents[1] / "../shared/data"


@pytest.fixture(scope="session")
def shared_data():
  """Real data beside the checkout; a test that wants it is skipped without."""
  if not SHARED.is_dir():
    pytest.skip("real data and T5X's own checkpoints are not in ../shared/data")
  return SHARED


@pytest.fixture
def mesh():
  return partitioning.Layout().mesh()
