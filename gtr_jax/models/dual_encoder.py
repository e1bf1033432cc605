"""Two towers, one for queries and one for passages."""

from flax import linen as nn
from jaxtyping import Array, Float, Int

from gtr_jax.models import text_encoder


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
    self, tokens: Int[Array, "B L"], *, deterministic: bool = True
  ) -> Float[Array, "B D"]:
    return self.query_encoder(tokens, deterministic=deterministic)

  def encode_passage(
    self, tokens: Int[Array, "B L"], *, deterministic: bool = True
  ) -> Float[Array, "B D"]:
    tower = self.passage_encoder or self.query_encoder
    return tower(tokens, deterministic=deterministic)

  def __call__(
    self, query_tokens: Int[Array, "B L"], passage_tokens: Int[Array, "N L"]
  ) -> tuple[Float[Array, "B D"], Float[Array, "N D"]]:
    return self.encode_query(query_tokens), self.encode_passage(passage_tokens)
