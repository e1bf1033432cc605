"""An export against the model it was made of: same ids, same vectors."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32, Int32

from gtr_jax.export import cpu, nearness, probes, same_tokens
from gtr_jax.export import original as original_lib
from gtr_jax.types import TowerName

_LENGTH_STEP = 64


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


@dataclass(frozen=True)
class Comparison:
  """What `compare` found.

  Attributes:
    near: how near the vectors are.
    num_texts: texts that were compared, each as query and as passage.
    num_ties: of these readings, those where two orders of the same pieces are
      equally likely and the export takes the other one: "!!!!!!" is "!",
      "!!!!!" or the reverse.  tensorflow_text breaks such ties as SentencePiece
      to 0.2.1 does, 0.2.2 and 0.2.3 in another way; with T5's vocabulary 1 in
      2,000 documents has one.
  """

  near: nearness.Nearness
  num_texts: int
  num_ties: int


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
  texts = [*probes.short_texts(original.tokenizer), *probes.LONG]
  due: dict[TowerName, np.ndarray] = {}
  came: dict[TowerName, np.ndarray] = {}
  num_ties = 0
  for tower in original_lib.TOWERS:
    parts = []
    for batch in (texts[: -len(probes.LONG)], list(probes.LONG)):
      tokens = export.token_ids(batch, tower)
      num_ties += same_tokens.num_ties(original, batch, tokens, tower)
      parts.append(encode(tokens, tower))
    due[tower] = np.concatenate(parts)
    came[tower] = _embeddings(export, texts, due[tower], tower)
  near = nearness.measure(due, came, texts, _tolerance(original))
  near.require("the export's", "the model's")
  return Comparison(near, num_texts=len(texts), num_ties=num_ties)


def _tolerance(original: original_lib.Original) -> nearness.Tolerance:
  if original.activation_dtype != jnp.bfloat16:
    return nearness.FLOAT32
  if original.dtype == "float32":
    return nearness.BFLOAT16
  return nearness.ROUNDED


def _reference(
  original: original_lib.Original,
) -> Callable[[np.ndarray, TowerName], np.ndarray]:
  """The model itself, on the CPU: token ids and tower to embeddings."""
  device = cpu.device()
  params = jax.device_put(original.params, device)
  functions = original.own_encoders()
  compiled = {function: jax.jit(function) for function in functions.values()}

  def encode(tokens: np.ndarray, tower: TowerName) -> np.ndarray:
    # Few shapes: each is compiled.
    tokens = np.pad(tokens, ((0, 0), (0, -tokens.shape[1] % _LENGTH_STEP)))
    tokens = jax.device_put(tokens, device)
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
