"""Stage 1: wide and noisy pairs from what stands together in a module.

They play the part of the paper's community questions and answers.  What never
pairs here is the opening sentence of a text with the rest: that is stage 2's.

Source of the two stages: Ni et al., 2021 (https://arxiv.org/abs/2112.07899).
"""

from collections.abc import Iterator, Sequence

from gtr_jax.data import prose
from gtr_jax.data.docstrings import Definition

MIN_QUERY_WORDS = 2
MIN_PASSAGE_WORDS = 6
MAX_QUERY_WORDS = 64
MAX_PASSAGE_WORDS = 200

TextPair = tuple[str, str]


def module_pairs(definitions: Sequence[Definition]) -> Iterator[TextPair]:
  """Queries and passages of one module, good enough ones only."""
  by_name = {definition.name: definition for definition in definitions}
  for definition in definitions:
    outer = by_name.get(definition.name.rpartition(".")[0])
    for query, passage in _definition_pairs(definition, outer):
      query = prose.cut(query, MAX_QUERY_WORDS)
      passage = prose.cut(passage, MAX_PASSAGE_WORDS)
      if _is_useful(query, passage):
        yield query, passage


def _is_useful(query: str, passage: str) -> bool:
  enough = len(prose.words(query)) >= MIN_QUERY_WORDS
  return enough and prose.is_prose(passage, MIN_PASSAGE_WORDS)


def _definition_pairs(
  definition: Definition, outer: Definition | None
) -> Iterator[TextPair]:
  summary, body = prose.summary_and_body(
    definition.docstring, MAX_PASSAGE_WORDS
  )
  text = f"{summary} {body}"
  yield from _names(definition, outer, text)
  yield from _messages(definition, text)
  yield from _comments(definition, text)
  yield from _structure(definition, summary)


def _names(
  definition: Definition, outer: Definition | None, text: str
) -> Iterator[TextPair]:
  """Name, parameters, and the name inside its class → documentation."""
  yield prose.name_words(definition.full_name), text
  own_name = prose.name_words(definition.name.rpartition(".")[2])
  if definition.parameters:
    yield (
      f"{own_name} {prose.name_words(' '.join(definition.parameters))}",
      text,
    )
  if definition.name and outer:
    around, _ = prose.summary_and_body(outer.docstring, MAX_PASSAGE_WORDS)
    if around:
      yield f"{around} {own_name}", text


def _messages(definition: Definition, text: str) -> Iterator[TextPair]:
  """An error message → documentation of what raises it."""
  for message in definition.messages:
    if prose.is_prose(message, 3):
      yield prose.plain(message), text


def _comments(definition: Definition, text: str) -> Iterator[TextPair]:
  """Name → comment, comment → documentation of what it stands in."""
  name = prose.name_words(definition.full_name)
  for comment in (definition.comment, *definition.remarks):
    for block in prose.blocks(comment):
      yield name, block
      if definition.name and prose.is_prose(block, 4):
        yield block, text


def _structure(definition: Definition, summary: str) -> Iterator[TextPair]:
  """Heading → paragraph, term → explanation, paragraph → the one after it."""
  name = prose.name_words(definition.full_name)
  blocks = prose.blocks(definition.docstring)
  for block, after in zip(blocks, blocks[1:], strict=False):
    if len(block.split()) == 1:  # Returns, Notes: whose?
      yield f"{name} {block}", after
    elif not block.startswith(summary):
      yield block, after
