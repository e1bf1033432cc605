"""Ties: the same pieces in another order, also where a text is cut."""

import numpy as np
import pytest

from gtr_jax.data import vocabulary
from gtr_jax.export import original, same_tokens
from gtr_jax.models import dual_encoder, t5_encoder, text_encoder

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


def test_ids_of_another_vocabulary_are_refused():
  own = vocabulary.train(["a word, and another"] * 9, 290)
  encoder = t5_encoder.T5Encoder(
    num_layers=1, num_heads=1, head_dim=1, mlp_dim=1
  )
  tower = text_encoder.TextEncoder(encoder, own.vocab_size, embed_dim=1)
  model = original.Original(
    dual_encoder.DualEncoder(tower), {}, own, 8, 8, "", 0
  )
  (row,), _ = own.encode(["word"], 8, "query")
  strange = np.array([[own.vocab_size, *row[1:]]])
  with pytest.raises(ValueError, match="it was not kept"):
    same_tokens.num_ties(model, ["word"], strange, "query")
