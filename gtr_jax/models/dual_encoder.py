"""Two towers, one for queries and one for passages."""

from collections.abc import Mapping
from typing import cast

import jax
from flax import linen as nn
from jaxtyping import Array, Float, Int

from gtr_jax.models import text_encoder
from gtr_jax.types import Params, TowerName


class DualEncoder(nn.Module):
  """Query tower and passage tower; by default the same one, as in GTR.

  A shared tower's parameters have no prefix (T5X's names); separate towers'
  stand under `query_encoder` and `passage_encoder`.

  Attributes:
    query_encoder: tower of the queries.
    passage_encoder: tower of the passages; None shares the queries'.
  """

  query_encoder: text_encoder.TextEncoder
  passage_encoder: text_encoder.TextEncoder | None = None

  def setup(self):
    if self.passage_encoder is None:
      nn.share_scope(self, self.query_encoder)

  def encode_query(
    self,
    tokens: Int[Array, "B L"],
    segments: Int[Array, "B L"] | None = None,
    num_texts: int = 1,
    *,
    deterministic: bool = True,
  ) -> Float[Array, "B D"] | Float[Array, "B S D"]:
    """See `text_encoder.TextEncoder`."""
    return self.query_encoder(
      tokens, segments, num_texts, deterministic=deterministic
    )

  def encode_passage(
    self,
    tokens: Int[Array, "B L"],
    segments: Int[Array, "B L"] | None = None,
    num_texts: int = 1,
    *,
    deterministic: bool = True,
  ) -> Float[Array, "B D"] | Float[Array, "B S D"]:
    """See `text_encoder.TextEncoder`."""
    tower = self.passage_encoder or self.query_encoder
    return tower(tokens, segments, num_texts, deterministic=deterministic)

  def __call__(
    self, query_tokens: Int[Array, "B L"], passage_tokens: Int[Array, "N L"]
  ) -> tuple[Float[Array, "B D"], Float[Array, "N D"]]:
    return self.encode_query(query_tokens), self.encode_passage(passage_tokens)


def encode(
  model: nn.Module,
  params: Params,
  tokens: Int[Array, "B L"],
  tower: TowerName,
  rngs: Mapping[str, jax.Array] | None = None,
  segments: Int[Array, "B L"] | None = None,
  num_texts: int = 1,
) -> Float[Array, "B D"] | Float[Array, "B S D"]:
  """Embeddings of one tower as a function of the parameters.

  Args:
    model: with a method `encode_query` and one `encode_passage`.
    params: its parameters; names that it does not know are ignored.
    tokens: 0 is padding.
    tower: "query" or "passage".
    rngs: keys of the dropout; none switches it off.
    segments, num_texts: for packed rows; see `text_encoder.TextEncoder`.
  """
  embeddings = model.apply(
    {"params": params},
    tokens,
    segments,
    num_texts,
    deterministic=rngs is None,
    rngs=dict(rngs or {}),
    method=f"encode_{tower}",
  )
  return cast(jax.Array, embeddings)
