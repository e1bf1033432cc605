"""What cosines are divided by: a constant, or a bounded parameter."""

import dataclasses
import math

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from gtr_jax.types import Params


@dataclasses.dataclass(frozen=True)
class Fixed:
  """The same temperature from the first step to the last.

  Attributes:
    value: GTR's is 0.01.

  Source: Ni et al., 2021, §4.2 (https://arxiv.org/abs/2112.07899).
  """

  value: float = 0.01

  def __post_init__(self):
    _check(self.value > 0, f"a temperature of {self.value}", "more than 0")

  def init(self) -> Params:
    """No parameters."""
    return {}

  def __call__(self, params: Params) -> Float[Array, ""]:
    return jnp.float32(self.value)


@dataclasses.dataclass(frozen=True)
class Learned:
  """A parameter on a logarithmic scale that cannot leave its bounds.

  log temperature = low + (high - low) * sigmoid(parameter): unlike a clipped
  parameter it never gets stuck at a bound without a gradient.

  Attributes:
    initial: the temperature at the first step.
    minimum: lower bound.
    maximum: upper bound.

  Source: the learned scale of Radford et al., 2021, §2.5
    (https://arxiv.org/abs/2103.00020), which clips instead.
  """

  initial: float = 0.01
  minimum: float = 0.001
  maximum: float = 1.0

  def __post_init__(self):
    _check(
      0 < self.minimum < self.initial < self.maximum,
      f"a learned temperature of {self.initial} in"
      f" [{self.minimum}, {self.maximum}]",
      "0 < minimum < initial < maximum",
    )

  def init(self) -> Params:
    """{"temperature": {"logit": []}}, without a mesh axis."""
    low, high = math.log(self.minimum), math.log(self.maximum)
    share = (math.log(self.initial) - low) / (high - low)
    logit = jnp.float32(math.log(share / (1 - share)))
    return {"temperature": {"logit": nn.LogicallyPartitioned(logit, ())}}

  def __call__(self, params: Params) -> Float[Array, ""]:
    low, high = math.log(self.minimum), math.log(self.maximum)
    share = jax.nn.sigmoid(params["temperature"]["logit"])
    return jnp.exp(low + (high - low) * share)


def _check(fine: bool, came: str, due: str) -> None:
  if not fine:
    raise ValueError(f"{came} was asked for; it must be {due}")
