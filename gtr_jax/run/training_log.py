"""Where a run's numbers go: JSON lines, TensorBoard, a progress bar."""

import contextlib
import json
import math
import os
import pathlib
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import jax

from gtr_jax.files import whole
from gtr_jax.training import state as state_lib
from gtr_jax.types import Metrics

METRICS_FILE = "metrics.jsonl"


class TrainingLog:
  """Writes on process 0, and nothing on the others.

  Attributes:
    lines: the open metrics.jsonl.
    board: TensorBoard's writer.
    bar: tqdm's bar on standard error; silent where that is no terminal.
    is_first: whether this is process 0, which alone tells the user.
  """

  def __init__(self, lines, board, bar, is_first):
    self._lines = lines
    self._board = board
    self._bar = bar
    self._is_first = is_first

  def write(self, number: int, kind: str, values: Mapping[str, float]) -> None:
    """One JSON line, one TensorBoard point a value, the loss in the bar."""
    # JSON has no NaN.
    finite = {k: v if math.isfinite(v) else None for k, v in values.items()}
    record = {"step": number, "kind": kind, **finite}
    self._lines.write(json.dumps(record) + "\n")
    self._lines.flush()
    for name, value in values.items():
      self._board.add_scalar(f"{kind}/{name}", value, number)
    if kind == "eval":
      shown = ", ".join(f"{k} {v:.4f}" for k, v in values.items())
      if self._is_first:
        self._bar.write(f"step {number}: {shown}", file=sys.stderr)
    else:
      self._bar.set_postfix(loss=f"{values['loss']:.3f}", refresh=False)

  def tick(
    self, number: int, state: state_lib.TrainState, metrics: Metrics
  ) -> None:
    """A hook: moves the bar."""
    del number, state, metrics
    self._bar.update()


@contextlib.contextmanager
def open_log(
  directory: pathlib.Path, first_step: int, last_step: int
) -> Iterator[TrainingLog]:
  """Opens the log of a run that goes on from `first_step`.

  Lines of later steps, which a killed run wrote after its last checkpoint,
  are taken out: they will be written again.
  """
  import tensorboardX
  import tqdm

  is_first = jax.process_index() == 0
  path = directory / METRICS_FILE if is_first else pathlib.Path(os.devnull)
  if is_first:
    _cut(path, first_step)
  bar = tqdm.tqdm(
    total=last_step,
    initial=first_step,
    unit="step",
    disable=None if is_first else True,
  )
  board = tensorboardX.SummaryWriter(
    str(directory / "tensorboard"),
    purge_step=first_step + 1,
    write_to_disk=is_first,
  )
  try:
    with bar, path.open("a") as lines:
      yield TrainingLog(lines, board, bar, is_first)
  finally:
    # On a full disk the error that matters is the one that came first.
    with contextlib.suppress(OSError):
      board.close()


def read(directory: pathlib.Path, kind: str) -> list[dict[str, Any]]:
  """The records of one kind: "train" or "eval"."""
  path = directory / METRICS_FILE
  records = map(json.loads, path.read_text().splitlines())
  return [record for record in records if record["kind"] == kind]


def _cut(path: pathlib.Path, last_step: int) -> None:
  if not path.is_file():
    return
  lines = path.read_text().splitlines(keepends=True)
  kept = [line for line in lines if _is_up_to(line, last_step)]
  whole.write(path, "".join(kept).encode())


def _is_up_to(line: str, last_step: int) -> bool:
  try:
    return line.endswith("\n") and json.loads(line)["step"] <= last_step
  except (ValueError, KeyError, TypeError):
    return False  # The line at which a run was killed.
