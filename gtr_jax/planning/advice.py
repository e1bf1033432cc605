"""What to change when a step does not fit."""

import dataclasses

from gtr_jax.planning import estimate

# A kind of memory is worth a word from this share of the limit.
_MUCH = 0.25


@dataclasses.dataclass(frozen=True)
class Knobs:
  """What a config may still turn.

  Attributes:
    num_chunks: NUM_CHUNKS, None where there is no such macro.
    max_chunks: texts of a device.
    remat: REMAT, likewise.
    score_tile: SCORE_TILE; None where scores are whole.
    has_score_tile: whether there is such a macro.
    shards_parameters: whether devices of the batch share parameters (FSDP).
    score_bytes: of a device's share of the scores, were they whole.
  """

  num_chunks: int | None
  max_chunks: int
  remat: str | None
  score_tile: int | None
  has_score_tile: bool
  shards_parameters: bool
  score_bytes: int


def changes(found: estimate.Estimate, knobs: Knobs) -> list[str]:
  """Changes that would save memory, what saves most first; none if it fits."""
  if found.fits:
    return []
  limit, kinds = found.limit, found.memory
  advice = []
  state = kinds.parameters + kinds.optimizer
  if state > _MUCH * limit and not knobs.shards_parameters and found.chips > 1:
    advice.append(
      "share parameters and optimizer among the chips (FSDP):"
      " --gin.LOGICAL_AXIS_RULES=\"(('embed', 'data'),)\""
    )
  whole_scores = knobs.has_score_tile and knobs.score_tile is None
  if whole_scores and knobs.score_bytes > _MUCH / 2 * limit:
    advice.append("never hold all scores at once: --gin.SCORE_TILE=1024")
  if knobs.num_chunks is not None and knobs.num_chunks < knobs.max_chunks:
    advice.append(
      f"encode in more chunks (now {knobs.num_chunks}):"
      f" --gin.NUM_CHUNKS={2 * knobs.num_chunks}, or --find chunks"
    )
  if knobs.remat in ("none", "dots"):
    advice.append(
      f"keep less for the backward pass (now {knobs.remat}):"
      " --gin.REMAT=\"'full'\""
    )
  advice.append("a smaller BATCH_SIZE (--find batch), or more or larger chips")
  return advice
