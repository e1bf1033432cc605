"""Packages: gtr_jax, with gin_configs inside.  The rest: pyproject.toml."""

from setuptools import find_packages, setup

setup(
  packages=[
    *find_packages(include=["gtr_jax", "gtr_jax.*"]),
    "gtr_jax.gin_configs",
  ],
  package_dir={"gtr_jax.gin_configs": "gin_configs"},
  package_data={"gtr_jax.gin_configs": ["**/*.gin"]},
)
