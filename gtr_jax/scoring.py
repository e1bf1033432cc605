"""Dot products of all queries with all passages."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def dot_products(
  queries: Float[Array, "Q D"], passages: Float[Array, "C D"]
) -> Float[Array, "Q C"]:
  """Float32 products at full precision, whatever the backend's default.

  At a temperature of 0.01 an error of 2^-9 in a cosine, which a bfloat16 pass
  makes, is 0.2 in the logit.
  """
  return jnp.einsum(
    "qd,cd->qc",
    queries,
    passages,
    precision=jax.lax.Precision.HIGHEST,
    preferred_element_type=jnp.float32,
  )
