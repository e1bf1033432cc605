"""Another name of `files.whole`."""

from gtr_jax.files.whole import writing as writing
