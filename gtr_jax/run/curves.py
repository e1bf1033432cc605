"""The curves of training stages as a picture."""

import pathlib
from collections.abc import Sequence

from gtr_jax.files import whole
from gtr_jax.run import training_log

MEASURE = "ndcg@10"


def draw(
  model_dirs: Sequence[pathlib.Path], path: pathlib.Path, measure: str = MEASURE
) -> None:
  """Loss (left) and evaluation (right) of stages that follow each other.

  Args:
    model_dirs: model directories, in the order of training.
    path: a PNG, made whole or not at all.
    measure: which value of the evaluations.
  """
  import matplotlib

  matplotlib.use("Agg")  # No display is needed.
  from matplotlib import pyplot

  figure, (loss, evaluation) = pyplot.subplots(
    1, 2, figsize=(10, 4), layout="constrained"
  )
  first = 0
  for directory in model_dirs:
    train = training_log.read(directory, "train")
    evals = training_log.read(directory, "eval")
    label = directory.name
    _line(loss, train, "loss", first, label, marker="")
    _line(evaluation, evals, measure, first, label, marker="o")
    first += max((record["step"] for record in train + evals), default=0)
  for axes, title in (
    (loss, "training loss, both directions (nats)"),
    (evaluation, f"{measure} on the held-out collection"),
  ):
    axes.set(xlabel="step", title=title)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
  with whole.writing(path) as stream:
    figure.savefig(stream, format="png", dpi=120)
  pyplot.close(figure)


def _line(axes, records, key, first, label, marker) -> None:
  steps = [first + record["step"] for record in records]
  values = [record[key] for record in records]
  axes.plot(steps, values, label=label, marker=marker)
