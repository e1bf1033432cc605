"""What `gtr import` will write: decided before an array is read."""

import dataclasses
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from gtr_jax.checkpoints import huggingface, lazy_arrays, names, sizes
from gtr_jax.data import vocabulary
from gtr_jax.models import dual_encoder
from gtr_jax.run import imported_config


@dataclasses.dataclass(frozen=True)
class Plan:
  """What will be written.

  Attributes:
    config: text of config.gin.
    arrays: all of the model's, by flat names, still to be read.
    unused: names of arrays in the checkpoint that the model has no place for.
    missing: names of arrays that are drawn at random.
  """

  config: str
  arrays: Mapping[str, lazy_arrays.LazyArray]
  unused: tuple[str, ...]
  missing: tuple[str, ...]

  @property
  def num_parameters(self) -> int:
    return sum(array.size for array in self.arrays.values())


def make(
  checkpoint: huggingface.Checkpoint,
  tokenizer: vocabulary.Tokenizer | None,
  max_distance: int | None,
  activation_dtype: str,
  initializes_missing: bool,
  allows_unused: bool,
  seed: int,
) -> Plan:
  """Compares a checkpoint's arrays, unread, with the model of their sizes.

  Args:
    checkpoint: opened.
    tokenizer: the vocabulary that comes along, if there is one.
    max_distance: of relative positions, by its flag; None: not given.
    activation_dtype: of the model.
    initializes_missing: whether what is missing may be drawn at random.
    allows_unused: whether arrays without a place may be left out.
    seed: of what is drawn.

  Raises:
    ValueError: sizes that do not agree, arrays that are missing or have no
      place, a vocabulary of another model.
  """
  found = checkpoint.arrays
  found_sizes = sizes.from_arrays(found)
  _check_vocabulary(tokenizer, found_sizes)
  if max_distance not in (None, checkpoint.max_distance):
    raise ValueError(
      f"--relative_attention_max_distance is {max_distance}, its config says"
      f" {checkpoint.max_distance}; leave the flag out"
    )
  config = imported_config.text(
    found_sizes, checkpoint.max_distance, activation_dtype
  )
  model = imported_config.model(config)
  expected = imported_config.shapes(model)
  differences = names.compare(expected, found)
  unused = tuple(sorted((*differences.unused, *checkpoint.unused)))
  strangers = [x for x in unused if not huggingface.is_of_decoder(x)]
  if strangers and not allows_unused:
    raise ValueError(
      f"holds {some(strangers)}, for which the model has no place;"
      " --allow_unused leaves that out"
    )
  names.check_encoder(differences.missing)
  if differences.missing and not initializes_missing:
    raise ValueError(
      f"lacks {some(differences.missing)}; use --initialize_missing to draw it"
      " at random and train it"
    )
  drawn = _drawn(model, differences.missing, seed)
  arrays = {
    name: drawn[name] if name in drawn else _finite(name, found[name])
    for name in expected
  }
  return Plan(config, arrays, unused, differences.missing)


def some(found: Sequence[str]) -> str:
  """The first three names, and how many more."""
  more = f" and {len(found) - 3} more" if len(found) > 3 else ""
  return ", ".join(found[:3]) + more


def _check_vocabulary(
  tokenizer: vocabulary.Tokenizer | None, found: sizes.Sizes
) -> None:
  if tokenizer is not None and tokenizer.vocab_size > found.vocab_size:
    raise ValueError(
      f"token_embedder/embedding has {found.vocab_size} rows, but --vocabulary"
      f" has {tokenizer.vocab_size} pieces; it is another model's"
    )


def _finite(name: str, array: lazy_arrays.LazyArray) -> lazy_arrays.LazyArray:
  """The array, which refuses NaN and infinity when it is read."""

  def read(part: lazy_arrays.Part) -> np.ndarray:
    numbers = array[part]
    if not np.isfinite(numbers).all():
      raise ValueError(f"NaN or infinity in {name}")
    return numbers

  return dataclasses.replace(array, read=read)


def _drawn(
  model: dual_encoder.DualEncoder, wanted: Sequence[str], seed: int
) -> dict[str, lazy_arrays.LazyArray]:
  """New arrays of a model, by flat name."""
  if not wanted:
    return {}
  tokens = jnp.ones((1, 1), jnp.int32)

  # Under jit nothing but what is wanted is made.
  @jax.jit
  def make(key: jax.Array) -> dict[str, jax.Array]:
    params = nn.unbox(model.init(key, tokens, tokens)["params"])
    flat = names.flatten(params)
    return {name: flat[name] for name in wanted}

  drawn = make(jax.random.key(seed))
  return {k: lazy_arrays.in_memory(np.asarray(x)) for k, x in drawn.items()}
