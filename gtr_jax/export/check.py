"""An export against the model it was made of: same ids, same vectors."""

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32, Int32

from gtr_jax.export import original as original_lib
from gtr_jax.export import probes, same_tokens
from gtr_jax.types import TowerName

_LENGTH_STEP = 64
# Texts that are named when an export differs, and in parity.json.
_NUM_WORST = 3
_DEPTH = 10


class Export(Protocol):
  """An export read back from its files."""

  def token_ids(
    self, texts: Sequence[str], tower: TowerName
  ) -> Int32[np.ndarray, "n l"]:
    """As long as the longest text, 0 is padding."""
    ...

  def embeddings(
    self, texts: Sequence[str], tower: TowerName
  ) -> Float32[np.ndarray, "n D"]: ...


class Tolerance(NamedTuple):
  """How far an export may be from its model.

  Attributes:
    difference: of one number in a unit vector, at most.
    cosine: of an embedding with the model's, at least.
    top10_overlap: of the ten nearest passages, at least; where two passages
      are as near up to `difference`, either may be among the ten.
  """

  difference: float
  cosine: float
  top10_overlap: float


# Float32 differs by about 1e-7, the order of the sums; an export with another
# weight or another formula by 1e-2 or more.
FLOAT32 = Tolerance(1e-5, 0.99999, 1.0)
# Two compilers round bfloat16 at other places and the layers add that up: one
# apart in the last of the 8 bits of the largest number there can be, 1.0, is
# allowed.  GTR-Base, 12 layers, differs by 5e-4 from itself in float32 and as
# much from its export.
BFLOAT16 = Tolerance(2.0**-8, 0.9999, 0.9)
# Weights that were float32 lose 16 bits as well.
ROUNDED = Tolerance(2.0**-6, 0.999, 0.9)


class Worst(NamedTuple):
  """A text that is among the furthest from the model's."""

  cosine: float
  difference: float
  tower: TowerName
  text: str

  def __str__(self):
    return f"the {self.tower} {self.text!r:.60} (cosine {self.cosine:.6f})"


@dataclass(frozen=True)
class Comparison:
  """What `compare` found.

  Attributes:
    max_difference: of any number in any embedding.
    min_cosine: of an embedding with the model's own.
    top10_overlap: of the probe texts as passages, the share of the export's
      ten nearest to each query that are among the model's.
    tolerance: the most that was allowed.
    num_texts: texts that were compared, each as query and as passage.
    num_ties: of these readings, those where two orders of the same pieces are
      equally likely and the export takes the other one: "!!!!!!" is "!",
      "!!!!!" or the reverse.  tensorflow_text breaks such ties as SentencePiece
      to 0.2.1 does, 0.2.2 and 0.2.3 in another way; with T5's vocabulary 1 in
      2,000 documents has one.
    worst: the texts that are furthest from the model's.
  """

  max_difference: float
  min_cosine: float
  top10_overlap: float
  tolerance: Tolerance
  num_texts: int
  num_ties: int
  worst: tuple[Worst, ...]


def compare(original: original_lib.Original, export: Export) -> Comparison:
  """How far the export is from the model, on the probe texts.

  The model runs on the CPU, where float32 is float32: other devices multiply
  in less by default.

  Raises:
    ValueError: other token ids for a text, embeddings or nearest passages
      further off than the tolerance, with the worst texts; or a model whose
      own embeddings are not finite.
  """
  encode = _reference(original)
  texts = [*probes.short_texts(original), *probes.LONG]
  due: dict[TowerName, np.ndarray] = {}
  came: dict[TowerName, np.ndarray] = {}
  worst: list[Worst] = []
  num_ties = 0
  for tower in original_lib.TOWERS:
    parts = []
    for batch in (texts[: -len(probes.LONG)], list(probes.LONG)):
      tokens = export.token_ids(batch, tower)
      num_ties += same_tokens.num_ties(original, batch, tokens, tower)
      parts.append(encode(tokens, tower))
    due[tower] = np.concatenate(parts)
    came[tower] = _embeddings(export, texts, due[tower], tower)
    worst += _distances(due[tower], came[tower], texts, tower)
  tolerance = _tolerance(original)
  comparison = Comparison(
    max_difference=max(one.difference for one in worst),
    min_cosine=min(one.cosine for one in worst),
    top10_overlap=top10_overlap(due, came, tolerance.difference),
    tolerance=tolerance,
    num_texts=len(texts),
    num_ties=num_ties,
    worst=tuple(heapq.nsmallest(_NUM_WORST, worst)),
  )
  _require_near(comparison)
  return comparison


def _tolerance(original: original_lib.Original) -> Tolerance:
  if original.activation_dtype != jnp.bfloat16:
    return FLOAT32
  return BFLOAT16 if original.dtype == "float32" else ROUNDED


def _require_near(comparison: Comparison) -> None:
  due = comparison.tolerance
  named = ", ".join(map(str, comparison.worst))
  if not comparison.max_difference <= due.difference:
    raise ValueError(
      f"the export's embeddings differ by {comparison.max_difference:.1e} from"
      f" the model's, at most {due.difference:.0e} is due; it was not kept;"
      f" worst: {named}"
    )
  if not comparison.min_cosine >= due.cosine:
    raise ValueError(
      f"the export's embeddings have a cosine of {comparison.min_cosine:.6f}"
      f" with the model's, at least {due.cosine} is due; it was not kept;"
      f" worst: {named}"
    )
  if not comparison.top10_overlap >= due.top10_overlap:
    raise ValueError(
      f"{comparison.top10_overlap:.1%} of the ten nearest passages are the"
      f" model's, at least {due.top10_overlap:.0%} is due; it was not kept;"
      f" worst: {named}"
    )


def _reference(
  original: original_lib.Original,
) -> Callable[[np.ndarray, TowerName], np.ndarray]:
  """The model itself, on the CPU: token ids and tower to embeddings."""
  try:
    cpu = jax.local_devices(backend="cpu")[0]
  except RuntimeError:
    raise ValueError(
      "JAX may not use the CPU, on which exports are checked: add cpu to"
      " JAX_PLATFORMS, or unset it"
    ) from None
  params = jax.device_put(original.params, cpu)
  functions = original.own_encoders()
  compiled = {function: jax.jit(function) for function in functions.values()}

  def encode(tokens: np.ndarray, tower: TowerName) -> np.ndarray:
    # Few shapes: each is compiled.
    tokens = np.pad(tokens, ((0, 0), (0, -tokens.shape[1] % _LENGTH_STEP)))
    tokens = jax.device_put(tokens, cpu)
    embeddings = np.asarray(compiled[functions[tower]](params, tokens))
    if not np.isfinite(embeddings).all():
      raise ValueError(
        f"the model's own {tower} embeddings hold NaN or infinity: export"
        " another checkpoint (--step)"
      )
    return embeddings

  return encode


def _embeddings(
  export: Export,
  texts: Sequence[str],
  due: Float32[np.ndarray, "n D"],
  tower: TowerName,
) -> Float32[np.ndarray, "n D"]:
  """The export's, of the form that is due."""
  num_long = len(probes.LONG)
  # Long texts apart, so that the short ones are not padded to them.
  parts = [
    export.embeddings(texts[:-num_long], tower),
    export.embeddings(texts[-num_long:], tower),
  ]
  # A text alone must give what it gives among others; none, no vector.
  alone, none = (
    export.embeddings(texts[:1], tower),
    export.embeddings([], tower),
  )
  expected = (len(texts) - num_long, num_long, 1, 0)
  for part, count in zip((*parts, alone, none), expected, strict=True):
    _check_form(part, due[:count], tower)
  embeddings = np.concatenate(parts)
  if np.abs(alone - due[:1]).max() > np.abs(embeddings[:1] - due[:1]).max():
    embeddings[:1] = alone
  return embeddings


def _check_form(actual: np.ndarray, due: np.ndarray, tower: str) -> None:
  if actual.shape != due.shape or actual.dtype != due.dtype:
    raise ValueError(
      f"the export's {tower} embeddings are {actual.dtype}"
      f" {list(actual.shape)}, the model's {due.dtype} {list(due.shape)}; it"
      " was not kept"
    )


def _distances(
  due: np.ndarray, came: np.ndarray, texts: Sequence[str], tower: TowerName
) -> Iterator[Worst]:
  """How far each text is; a number that is none is infinitely far."""
  differences = np.nan_to_num(np.abs(came - due).max(axis=1), nan=np.inf)
  products = np.einsum("nd,nd->n", due, came, dtype=np.float64)
  norms = np.linalg.norm(due, axis=1) * np.linalg.norm(came, axis=1)
  with np.errstate(invalid="ignore", divide="ignore"):
    cosines = np.where(differences == 0, 1.0, products / norms)
  for text, cosine, difference in zip(texts, cosines, differences, strict=True):
    far = np.nan_to_num(cosine, nan=-1.0, posinf=-1.0, neginf=-1.0)
    yield Worst(float(far), float(difference), tower, text[:60])


def top10_overlap(
  due: Mapping[TowerName, np.ndarray],
  came: Mapping[TowerName, np.ndarray],
  margin: float,
) -> float:
  """Share of the export's ten nearest passages that are the model's, too.

  A passage counts if the model's own score is not below that of its tenth by
  more than `margin`: of equally near ones, any will do.
  """
  scores = due["query"] @ due["passage"].T
  theirs = np.nan_to_num(came["query"] @ came["passage"].T, nan=-2.0)
  tenth = np.sort(scores, axis=1)[:, -_DEPTH:][:, 0]
  nearest = np.argsort(-theirs, axis=1, kind="stable")[:, :_DEPTH]
  kept = np.take_along_axis(scores, nearest, axis=1) >= tenth[:, None] - margin
  return float(kept.mean())
