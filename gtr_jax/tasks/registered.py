"""Importing this module registers all tasks with SeqIO, under their names.

For SeqIO's own programs, and for who feeds SeqIO to another trainer:

  GTR_DATA_DIR=data GTR_VOCABULARY=spiece.model seqio_cache_tasks \
    --module_import=gtr_jax.tasks.registered --tasks=msmarco_rocketqa \
    --output_cache_dir=cache

`gtr train` knows the names without it.
"""

from gtr_jax.data import tasks
from gtr_jax.files import lines
from gtr_jax.tasks import catalogue


def register(data_dir: str | None, vocabulary_path: str) -> None:
  """Registers the tasks and mixtures of the catalogue, and the embedded ones.

  No file is read before a task is.
  """
  tasks.python_docs_tasks(vocabulary_path)
  names = catalogue.names(data_dir)
  for name, opened in names.tasks.items():
    tasks.pairs_task(
      name,
      lambda opened=opened: opened("error").pairs(lines.to_standard_error),
      vocabulary_path,
    )
  for name, rates in names.mixtures.items():
    tasks.mixture(name, rates)


register(None, catalogue.vocabulary_path())
