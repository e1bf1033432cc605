"""The sizes of a T5 dual encoder, read from the shapes of its arrays."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from gtr_jax.checkpoints import names

_LAYER = re.compile(r"encoder/layers_(\d+)/.*")
_STACKED = (
  " (its layers are stacked by `scan`: in T5X each of those has a relative"
  " position bias of its own, here all share one)"
)
_PROJECTION = "projection_layer/kernel"


@dataclasses.dataclass(frozen=True)
class Sizes:
  """What a model directory's config has to say of a model.

  Attributes:
    vocab_size: rows of the token table.
    embed_dim: width of the encoder.
    num_layers: layers.
    num_heads: attention heads.
    head_dim: features of one head.
    mlp_dim: width of the MLP.
    gated: whether the MLP has two wide halves (T5 1.1) or one (T5 1.0).
    num_buckets: buckets of relative positions.
    projection_dim: width of the embedding; None if there is no projection, as
      in a T5 checkpoint.
  """

  vocab_size: int
  embed_dim: int
  num_layers: int
  num_heads: int
  head_dim: int
  mlp_dim: int
  gated: bool
  num_buckets: int
  projection_dim: int | None


def from_arrays(arrays: Mapping[str, Any]) -> Sizes:
  """Sizes from arrays (or shapes) under flat T5X names.

  Raises:
    ValueError: an array that tells a size is missing or has another rank, or
      its width is no multiple of the heads.
  """
  numbers = {int(m[1]) for m in map(_LAYER.fullmatch, arrays) if m}
  if not numbers:
    stacked = any(name.startswith("encoder/encoder/") for name in arrays)
    raise ValueError(
      "no array of encoder/layers_0, so this is no T5 encoder in T5X's names"
      + (_STACKED if stacked else "")
    )
  layer = f"encoder/layers_{min(numbers)}"
  vocab_size, embed_dim = _matrix(arrays, "token_embedder/embedding")
  num_heads, num_buckets = _matrix(arrays, "encoder/relpos_bias/rel_embedding")
  _, joined = _matrix(arrays, f"{layer}/attention/query/kernel")
  if num_heads < 1 or joined % num_heads:
    raise ValueError(
      f"{layer}/attention/query/kernel has {joined} columns, which the "
      f"{num_heads} heads of encoder/relpos_bias/rel_embedding do not divide"
    )
  gated = f"{layer}/mlp/wi_0/kernel" in arrays
  wide = f"{layer}/mlp/{'wi_0' if gated else 'wi'}/kernel"
  has_projection = _PROJECTION in arrays
  return Sizes(
    vocab_size=vocab_size,
    embed_dim=embed_dim,
    num_layers=max(numbers) + 1,
    num_heads=num_heads,
    head_dim=joined // num_heads,
    mlp_dim=_matrix(arrays, wide)[1],
    gated=gated,
    num_buckets=num_buckets,
    projection_dim=_matrix(arrays, _PROJECTION)[1] if has_projection else None,
  )


def _matrix(arrays: Mapping[str, Any], name: str) -> tuple[int, int]:
  if name not in arrays:
    near = ", ".join(names.nearest(name, arrays))
    raise ValueError(f"no array {name}; the nearest names are {near}")
  shape = names.shape_of(arrays[name])
  if len(shape) != 2:
    raise ValueError(f"{name} is {shape}, due is a matrix")
  return shape[0], shape[1]
