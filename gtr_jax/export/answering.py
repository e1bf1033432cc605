"""The other side of `consumer_process`: a JSON line in, a JSON line out.

A server module opens a folder with the consumer's library alone and hands over
two functions; nothing of the model is imported here.
"""

import base64
import io
import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

# Texts and "query" or "passage" to rows of numbers.
Function = Callable[[Sequence[str], str], np.ndarray]


class Answers(NamedTuple):
  """What a consumer makes of texts.

  Attributes:
    token_ids: int32 [n, l], as long as the longest text, 0 is padding.
    embeddings: float32 [n, D].
  """

  token_ids: Function
  embeddings: Function


def serve(open_folder: Callable[[str], Answers]) -> None:
  """Answers questions about the folder of the command line until they end."""
  # What libraries print shall not come between the answers.
  answers = os.fdopen(os.dup(1), "w")
  os.dup2(2, 1)
  functions = open_folder(sys.argv[1])
  probe = functions.embeddings(["one"], "query")
  print(json.dumps({"dim": probe.shape[1]}), file=answers, flush=True)
  for line in sys.stdin:
    question = json.loads(line)
    function = getattr(functions, question["call"])
    array = function(question["texts"], question["tower"])
    content = io.BytesIO()
    np.save(content, array)
    encoded = base64.b64encode(content.getvalue()).decode()
    print(json.dumps({"array": encoded}), file=answers, flush=True)
