"""Ties: the same pieces in another order, also where a text is cut."""

import numpy as np
import pytest

from gtr_jax.export import same_tokens

EOS, ONE, FIVE, OTHER = 1, 2, 3, 4


def decode(ids):
  spelling = {ONE: "!", FIVE: "!!!!!", OTHER: "a"}
  return "".join(spelling.get(id_, "") for id_ in ids)


@pytest.mark.parametrize(
  ("due", "came", "length", "tied"),
  [
    ([OTHER, ONE, FIVE, EOS], [OTHER, FIVE, ONE, EOS], 9, True),
    ([OTHER, ONE, FIVE, EOS], [ONE, FIVE, OTHER, EOS], 9, False),
    ([ONE, FIVE, EOS], [ONE, ONE, ONE, ONE, ONE, ONE, EOS], 9, False),
    # Cut behind the first piece of the tie.
    ([OTHER, ONE, EOS], [OTHER, FIVE, EOS], 3, True),
    ([OTHER, ONE, EOS], [OTHER, FIVE, EOS], 4, False),
    ([OTHER, ONE, EOS], [OTHER, OTHER, EOS], 3, False),
    ([ONE] * 3 + [EOS], [FIVE] * 3 + [EOS], 4, False),
    ([OTHER, ONE, EOS], [OTHER, EOS], 3, False),
  ],
)
def test_ties(due, came, length, tied):
  actual = same_tokens.is_tie(decode, np.array(due), np.array(came), length)
  assert actual is tied
