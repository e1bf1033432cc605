"""Pictures for a page, inside of it."""

import base64
import io
from collections.abc import Mapping

import numpy as np

from gtr_jax.doctor.examination import Examination, Length
from gtr_jax.types import TowerName


def lengths(towers: Mapping[TowerName, Length]) -> str:
  """Histograms of tokens, with the length that is read."""
  pyplot = _pyplot()
  figure, axes = pyplot.subplots(
    1, len(towers), figsize=(9, 2.8), layout="constrained"
  )
  for axis, (tower, length) in zip(axes, towers.items(), strict=True):
    most = max(length.quantile(0.995), length.limit + 1)
    values, edges = _binned(length.histogram, most)
    axis.bar(edges[:-1], values, np.diff(edges), align="edge", color="#4878a8")
    axis.axvline(length.limit, color="#b03030", linewidth=1)
    axis.set(
      title=f"{tower}: {length.num_truncated / max(length.num_texts, 1):.1%}"
      f" have more than {length.limit}",
      xlabel="tokens (the last bar: and more)",
    )
    axis.set_yticks([])
  return _image(pyplot, figure, "texts by their number of tokens")


def repetition(examination: Examination) -> str:
  """How many texts come once, twice and so on."""
  pyplot = _pyplot()
  figure, axis = pyplot.subplots(figsize=(9, 2.4), layout="constrained")
  for name, marker in (("queries", "o"), ("passages", "s")):
    sizes = examination.again[name].group_sizes
    times = np.flatnonzero(sizes) + 1
    axis.plot(times, sizes[times - 1], marker, label=name, alpha=0.7)
  axis.set(xscale="log", yscale="log", xlabel="times", ylabel="texts")
  axis.legend(frameon=False)
  return _image(pyplot, figure, "how many texts come how often")


def _binned(
  histogram: np.ndarray, most: int, num_bins: int = 48
) -> tuple[np.ndarray, np.ndarray]:
  """Counts of bins up to `most` tokens; what is longer is in the last."""
  width = max(-(-most // num_bins), 1)
  edges = np.arange(0, most + width, width)
  values = np.add.reduceat(histogram, np.minimum(edges, len(histogram) - 1))
  return np.append(values[:-2], values[-2:].sum()), edges


def _pyplot():
  import matplotlib

  matplotlib.use("Agg")  # No display is needed.
  from matplotlib import pyplot

  return pyplot


def _image(pyplot, figure, told: str) -> str:
  """An <img> with the picture inside.

  Args:
    told: for who cannot see it.
  """
  stream = io.BytesIO()
  with pyplot.rc_context({"svg.fonttype": "none", "svg.hashsalt": "gtr"}):
    figure.savefig(stream, format="svg", metadata={"Date": None})
  pyplot.close(figure)
  # Not inline: names within one picture would be those within another.
  content = base64.b64encode(stream.getvalue()).decode()
  return f'<img alt="{told}" src="data:image/svg+xml;base64,{content}">\n'
