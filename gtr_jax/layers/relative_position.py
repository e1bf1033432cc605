"""T5's relative position bias: one number a head and bucket of distances."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float, Int

from gtr_jax.layers import param


def distance_buckets(num_buckets: int, max_distance: int) -> np.ndarray:
  """Bucket of each distance 0 … max_distance, one direction: int32.

  Half of the buckets are exact distances, the others logarithmic; all
  distances from `max_distance` on share the last bucket.  A table made once on
  the host is exact: a float32 logarithm on a device may fall on the other
  side of a boundary.

  Source: Raffel et al., 2020, §2.1 (https://arxiv.org/abs/1910.10683).
  """
  exact = num_buckets // 2
  distance = np.arange(max_distance + 1)
  ratio = np.maximum(distance, 1).astype(np.float32) / exact
  # T5 adds epsilon so that a power of the ratio lands above its boundary.
  logarithm = np.log(ratio + np.finfo(np.float32).eps) / np.log(
    max_distance / exact
  )
  large = exact + (logarithm * (num_buckets - exact)).astype(np.int32)
  large = np.minimum(large, num_buckets - 1)
  return np.where(distance < exact, distance, large).astype(np.int32)


class RelativePositionBias(nn.Module):
  """Bias added to the attention logits, shared by all layers.

  Attributes:
    num_heads: attention heads.
    num_buckets: buckets of distances, half of them for keys to the right.
    max_distance: from here on distances share a bucket.
  """

  num_heads: int
  num_buckets: int = 32
  max_distance: int = 128

  @nn.compact
  def __call__(self, length: int) -> Float[Array, "H L L"]:
    table = param.logical_param(
      self,
      "rel_embedding",
      nn.initializers.variance_scaling(1.0, "fan_avg", "uniform"),
      (self.num_heads, self.num_buckets),
      ("heads", "relpos_buckets"),
    )
    # A one-hot product: its gradient is a product too, not a scatter.
    hot = jax.nn.one_hot(self._buckets(length), self.num_buckets)  # [2L, n]
    of_distance = jnp.einsum(
      "hn,dn->hd", table, hot, precision=jax.lax.Precision.HIGHEST
    )
    return _spread(of_distance)

  def _buckets(self, length: int) -> Int[Array, "_"]:
    """Of the distances 1 - L … L, key minus query."""
    one_way = self.num_buckets // 2
    table = jnp.asarray(distance_buckets(one_way, self.max_distance))
    ahead = jnp.arange(1 - length, length + 1)
    distance = jnp.minimum(jnp.abs(ahead), self.max_distance)
    return jnp.where(ahead > 0, one_way, 0) + table[distance]


def _spread(of_distance: Float[Array, "H _"]) -> Float[Array, "H L L"]:
  """Row q, column k: the value of distance k - q.

  Rows of 2L + 1 numbers, cut out of repetitions of 2L, each begin one number
  later than the row before.  The gradient is sums, where that of a look-up
  would be a scatter; nothing is cut whose size is no multiple of L, so that L
  may be a symbol.
  """
  num_heads, twice = of_distance.shape
  length = twice // 2
  shape = (num_heads, length, twice)
  repeated = jnp.broadcast_to(of_distance[:, None, :], shape)
  flat = jnp.pad(repeated.reshape(num_heads, -1), [(0, 0), (0, length)])
  rows = flat.reshape(num_heads, length, twice + 1)[:, :, :length]
  return jnp.flip(rows, axis=1)
