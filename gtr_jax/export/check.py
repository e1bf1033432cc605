"""An export against the model it was made of: same ids, same vectors."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32, Int32

from gtr_jax.export import original as original_lib
from gtr_jax.export import probes
from gtr_jax.types import TowerName

# Of one number in a unit vector.  Float32 differs by about 1e-7, the order of
# the sums; an export with another weight or another formula by 1e-2 or more.
FLOAT32_TOLERANCE = 1e-5
# Two compilers round bfloat16 at other places and the layers add that up: one
# apart in the last of the 8 bits of the largest number there can be, 1.0, is
# allowed.  GTR-Base, 12 layers, differs by 5e-4 from itself in float32 and as
# much from its export.
BFLOAT16_TOLERANCE = 2.0**-8
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
    max_difference: of any number in any embedding.
    tolerance: the most that was allowed.
    num_texts: texts that were compared, each as query and as passage.
    num_ties: of these readings, those where two orders of the same pieces are
      equally likely and the export takes the other one: "!!!!!!" is "!",
      "!!!!!" or the reverse.  tensorflow_text breaks such ties as SentencePiece
      to 0.2.1 does, 0.2.2 and 0.2.3 in another way; with T5's vocabulary 1 in
      2,000 documents has one.
  """

  max_difference: float
  tolerance: float
  num_texts: int
  num_ties: int


def compare(original: original_lib.Original, export: Export) -> Comparison:
  """How far the export is from the model, on the probe texts.

  The model runs on the CPU, where float32 is float32: other devices multiply
  in less by default.

  Raises:
    ValueError: other token ids for a text, an embedding further off than the
      tolerance, or a model whose own embeddings are not finite.
  """
  encode = _reference(original)
  low = original.activation_dtype == jnp.bfloat16
  tolerance = BFLOAT16_TOLERANCE if low else FLOAT32_TOLERANCE
  largest, num_texts, num_ties = 0.0, 0, 0
  # A text alone must give what it gives among others; none, no vector.
  short, long = probes.short_texts(original), probes.LONG
  for texts, counts in ((short, (len(short), 1, 0)), (long, (len(long),))):
    num_texts += len(texts)
    for tower in original_lib.TOWERS:
      tokens = export.token_ids(texts, tower)
      num_ties += _num_ties(original, texts, tokens, tower)
      expected = encode(tokens, tower)
      for count in counts:
        actual = export.embeddings(texts[:count], tower)
        largest = max(largest, _difference(expected[:count], actual, tower))
  if not largest <= tolerance:
    raise ValueError(
      f"the export's embeddings differ by {largest:.1e} from the model's, at"
      f" most {tolerance:.0e} is due; it was not kept"
    )
  return Comparison(largest, tolerance, num_texts, num_ties)


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
  functions = original.encoders()
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


def _num_ties(
  original: original_lib.Original,
  texts: Sequence[str],
  tokens: np.ndarray,
  tower: TowerName,
) -> int:
  """How many rows are ties; raises where one is another reading."""
  tokenizer, length = original.tokenizer, original.length(tower)
  rows, _ = tokenizer.encode(texts, length, tower)
  longest = max(map(len, rows))
  if tokens.shape != (len(rows), longest):
    raise ValueError(
      f"the export's token ids of {len(rows)} {tower} texts are"
      f" {list(tokens.shape)}, due is {[len(rows), longest]}; it was not kept"
    )
  num_ties = 0
  for text, due, row in zip(texts, rows, tokens, strict=True):
    came = row[: len(due)]
    if np.array_equal(due, came) and not row[len(due) :].any():
      continue
    same_pieces = np.array_equal(np.sort(due), np.sort(row[row > 0]))
    if not same_pieces or tokenizer.decode(due) != tokenizer.decode(came):
      raise ValueError(
        f"the export reads the {tower} {text!r:.60} as token ids"
        f" {_shown(row)}, the model as {_shown(due)}; it was not kept"
      )
    num_ties += 1
  return num_ties


def _shown(ids: np.ndarray) -> str:
  shown = ", ".join(map(str, ids[ids > 0][:10]))
  return f"[{shown}{', …' if np.count_nonzero(ids) > 10 else ''}]"


def _difference(expected: np.ndarray, actual: np.ndarray, tower: str) -> float:
  if actual.shape != expected.shape or actual.dtype != expected.dtype:
    raise ValueError(
      f"the export's {tower} embeddings are {actual.dtype}"
      f" {list(actual.shape)}, the model's {expected.dtype}"
      f" {list(expected.shape)}; it was not kept"
    )
  difference = np.abs(actual - expected).max(initial=0.0)
  return float(np.nan_to_num(difference, nan=np.inf))
