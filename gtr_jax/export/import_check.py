"""An imported model against the library that wrote its weights.

Both get the same token ids, so that what differs is the model: other weights, a
forgotten projection, relative positions that end elsewhere.  The library's own
tokenizer is compared beside that, and differences are counted: it may read
"</s>" in a text as a mark, or have been converted inexactly.
"""

import pathlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32

from gtr_jax.export import consumer_process, cpu, nearness, probes
from gtr_jax.export import original as original_lib
from gtr_jax.models import dual_encoder
from gtr_jax.types import Params, TowerName

_MAX_LENGTH = 512
_NUM_RANDOM = 12
_SERVERS = {
  "huggingface": "gtr_jax.export.transformers_server",
  "sentence-transformers": "gtr_jax.export.sentence_transformers_server",
}
_LIBRARIES = {
  "huggingface": ("torch", "transformers"),
  "sentence-transformers": ("torch", "transformers", "sentence-transformers"),
}


@dataclass(frozen=True)
class Comparison:
  """What `compare` found.

  Attributes:
    library: who was asked, and its version.
    near: how near our vectors are to the library's.
    num_texts: rows of token ids that were compared.
    other_ids: texts that the library's tokenizer reads otherwise; None if it
      has none or the model came without a vocabulary.
  """

  library: str
  near: nearness.Nearness
  num_texts: int
  other_ids: tuple[str, ...] | None

  def as_json(self) -> dict[str, Any]:
    """What parity.json says."""
    return {
      "checked": True,
      "checked_by": self.library,
      "num_texts": self.num_texts,
      "texts_with_other_ids": self.other_ids and list(self.other_ids),
      **self.near.as_json(),
    }


def library_of(form: str) -> str | None:
  """Who reads a format's folders, None if that is not installed or none is."""
  if form not in _LIBRARIES:
    return None
  return consumer_process.version(*_LIBRARIES[form])


def compare(
  form: str,
  folder: pathlib.Path,
  model: dual_encoder.DualEncoder,
  params: Params,
  tokenizer: original_lib.TextTokenizer | None,
  max_length: int | None = None,
) -> Comparison:
  """How far the imported model is from the folder that it was made of.

  Args:
    form: "huggingface" or "sentence-transformers".
    folder: as the library saved it.
    model: one tower for both; of "huggingface" the projection is left out.
    params: as imported.
    tokenizer: None where there is no vocabulary: random ids are read.
    max_length: where the library cuts texts; None is 512 tokens.

  Raises:
    ValueError: the library does not read the folder, or vectors further off
      than the tolerance, with the worst texts.
  """
  library = library_of(form)
  assert library is not None
  theirs = consumer_process.Loaded(_SERVERS[form], folder, library)
  texts, rows = _inputs(model, tokenizer)
  if form == "huggingface":
    model, params = _without_projection(model, params)
  due, came = theirs.of_ids(rows, "query"), _encode(model, params, rows)
  near = nearness.measure(
    _both(due), _both(came), texts, _tolerance(model.query_encoder.encoder)
  )
  near.require("the imported model's", f"those of {library}")
  other_ids = _other_ids(theirs, tokenizer, max_length or _MAX_LENGTH)
  return Comparison(library, near, len(texts), other_ids)


def _inputs(
  model: dual_encoder.DualEncoder,
  tokenizer: original_lib.TextTokenizer | None,
) -> tuple[list[str], list[np.ndarray]]:
  """Texts, or names of random ones, and their token ids."""
  if tokenizer is not None:
    texts = [*probes.short_texts(tokenizer), *probes.LONG]
    rows, _ = tokenizer.encode(texts, _MAX_LENGTH, "passage")
    return texts, rows
  rng = np.random.default_rng(0)
  lengths = np.geomspace(1, _MAX_LENGTH, _NUM_RANDOM).astype(int)
  size = model.query_encoder.vocab_size
  rows = [rng.integers(1, size, n, dtype=np.int32) for n in lengths]
  return [f"{n} random token ids" for n in lengths], rows


def _without_projection(
  model: dual_encoder.DualEncoder, params: Params
) -> tuple[dual_encoder.DualEncoder, Params]:
  width = model.query_encoder.embed_dim
  tower = model.query_encoder.clone(projection_dim=width)
  identity = {"kernel": np.eye(width, dtype=np.float32)}
  return (
    dual_encoder.DualEncoder(tower),
    {**params, "projection_layer": identity},
  )


def _encode(
  model: dual_encoder.DualEncoder, params: Params, rows: list[np.ndarray]
) -> Float32[np.ndarray, "n D"]:
  """Unit vectors by the model, on the CPU, in two shapes: each is compiled."""
  device = cpu.device()
  encode = jax.jit(
    lambda params, tokens: model.apply(
      {"params": params}, tokens, method="encode_query"
    )
  )
  params = jax.device_put(params, device)
  lengths = np.array([len(row) for row in rows])
  split = int(np.median(lengths))
  vectors: dict[int, np.ndarray] = {}
  for is_long in (False, True):
    chosen = np.flatnonzero((lengths > split) == is_long)
    if not chosen.size:
      continue
    tokens = np.zeros((chosen.size, lengths[chosen].max()), np.int32)
    for place, number in enumerate(chosen):
      tokens[place, : lengths[number]] = rows[number]
    result = encode(params, jax.device_put(tokens, device))
    vectors |= dict(zip(chosen.tolist(), np.asarray(result), strict=True))
  stacked = np.stack([vectors[number] for number in range(len(rows))])
  # T5X's epsilon leaves short vectors a little short of 1; others have none.
  return stacked / np.linalg.norm(stacked, axis=1, keepdims=True)


def _both(vectors: np.ndarray) -> Mapping[TowerName, np.ndarray]:
  return {"query": vectors, "passage": vectors}


def _tolerance(encoder: Any) -> nearness.Tolerance:
  low = jnp.dtype(encoder.dtype) == jnp.bfloat16
  return nearness.ROUNDED if low else nearness.FLOAT32


def _other_ids(
  theirs: consumer_process.Loaded,
  tokenizer: original_lib.TextTokenizer | None,
  max_length: int,
) -> tuple[str, ...] | None:
  """Short texts that their tokenizer reads otherwise than ours."""
  if tokenizer is None:
    return None
  texts = probes.short_texts(tokenizer)
  rows, _ = tokenizer.encode(texts, max_length, "passage")
  try:
    came = theirs.token_ids(texts, "passage")
  except ValueError:  # A folder without a tokenizer.
    return None
  return tuple(
    text
    for text, due, row in zip(texts, rows, came, strict=True)
    if due.tolist() != row[row > 0].tolist()
  )
