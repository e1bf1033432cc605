import sys

import pytest

from gtr_jax.files import optional


def test_loads():
  assert optional.load("json", "extra").loads("[1]") == [1]


def test_says_what_to_install(monkeypatch):
  monkeypatch.setitem(sys.modules, "some_library", None)
  with pytest.raises(ValueError) as error:
    optional.load("some_library", "extra")
  assert str(error.value) == (
    "some_library is not installed: pip install 'gtr_jax[extra]'"
  )
