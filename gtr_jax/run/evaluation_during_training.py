"""A retrieval evaluation beside the training, as gin binds it."""

import dataclasses
import pathlib
import typing
from collections.abc import Callable

import jax

from gtr_jax import partitioning
from gtr_jax.data import python_docs, vocabulary
from gtr_jax.evaluation import beir, evaluate, lengths, measures
from gtr_jax.models import dual_encoder
from gtr_jax.retrieval import encode, towers
from gtr_jax.run import distributed, model_directory
from gtr_jax.training import hooks

EMBEDDED = "python_docs_"


@dataclasses.dataclass(frozen=True)
class Evaluation:
  """A small collection that is encoded and searched now and then.

  Attributes:
    data: a BEIR folder, or "python_docs_dev" and the other embedded ones; None
      evaluates nothing.
    split: which judgements of it.
    period: updates between two evaluations.
    query_length: tokens of a query that are read.
    passage_length: tokens of a passage that are read.
    patience: evaluations without a gain after which training stops; None
      never stops.
    measure: which of the measures tells the best checkpoint.
  """

  data: str | None
  split: str = "dev"
  period: int = 1000
  query_length: int = lengths.GTR.query
  passage_length: int = lengths.GTR.passage
  patience: int | None = None
  measure: str = "ndcg@10"

  def __post_init__(self):
    if self.period < 1:
      raise ValueError(f"EVAL_PERIOD is {self.period}; it must be at least 1")
    if self.measure not in measures.NAMES:
      raise ValueError(
        f"the measure of the best checkpoint is {self.measure!r}; it must be"
        f" one of {', '.join(measures.NAMES)}"
      )
    if self.patience is None:
      return
    if self.patience < 1:
      raise ValueError(
        f"EARLY_STOPPING is {self.patience}; it must be at least 1, or None"
      )
    if self.data is None:
      raise ValueError(
        f"EARLY_STOPPING is {self.patience} and EVAL_DATA None, so that nothing"
        " would ever stop the run; set EVAL_DATA, or EARLY_STOPPING to None"
      )

  def open(
    self,
    directory: pathlib.Path,
    model: dual_encoder.DualEncoder,
    tokenizer: vocabulary.Tokenizer,
    mesh: jax.sharding.Mesh,
    rules: partitioning.Rules,
    say: Callable[[str], None],
  ) -> hooks.Evaluate | None:
    """A function from parameters to measures; None without a collection.

    Raises:
      ValueError: if the collection is not there or broken.
    """
    if self.data is None:
      return None
    folder, split = pathlib.Path(self.data), self.split
    if self.data.startswith(EMBEDDED):
      folder, split = _write_embedded(self.data, directory)
    collection = beir.read(folder, split, report=say)
    functions = model_directory.tower_functions(model)

    def measured(params) -> dict[str, float]:
      trained = encode.Encoder(
        towers.Towers(functions, params, mesh=mesh, rules=rules),
        tokenizer,
        self.query_length,
        self.passage_length,
        model.query_encoder.vocab_size,
      )
      # What stops or keeps a run must be the same for all processes.
      return distributed.from_first(
        evaluate.evaluate(trained, collection).means
      )

    return measured


def _write_embedded(
  name: str, directory: pathlib.Path
) -> tuple[pathlib.Path, str]:
  """The BEIR folder of an embedded collection, and its split."""
  wanted = name.removeprefix(EMBEDDED)
  for split in typing.get_args(python_docs.Split):
    if split == wanted:
      folder = directory / "collections" / name
      python_docs.write_collection(folder, split)
      return folder, "test" if split == "out_of_domain" else split
  raise ValueError(
    f"EVAL_DATA is {name}; the embedded collections are"
    f" {', '.join(EMBEDDED + s for s in typing.get_args(python_docs.Split))}"
  )
