"""The other side of `consumer_process`: a JSON line in, a JSON line out.

A server module opens a folder with the other library alone and hands over its
functions; nothing of the model is imported here.
"""

import base64
import io
import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

# Texts, or token ids of texts, and "query" or "passage" to rows of numbers.
Function = Callable[[Sequence[Any], str], np.ndarray]


class Answers(NamedTuple):
  """What a consumer makes of texts.

  Attributes:
    token_ids: int32 [n, l], as long as the longest text, 0 is padding.
    embeddings: float32 [n, D].
    of_ids: the same, of token ids; where imports are compared.
  """

  token_ids: Function
  embeddings: Function
  of_ids: Function | None = None


def serve(open_folder: Callable[[str], Answers]) -> None:
  """Answers questions about the folder of the command line until they end."""
  # What libraries print shall not come between the answers.
  answers = os.fdopen(os.dup(1), "w")
  os.dup2(2, 1)
  functions = open_folder(sys.argv[1])
  print(json.dumps({"ready": True}), file=answers, flush=True)
  for line in sys.stdin:
    print(json.dumps(_answer(functions, line)), file=answers, flush=True)


def _answer(functions: Answers, line: str) -> dict[str, str]:
  question = json.loads(line)
  function = getattr(functions, question["call"])
  try:
    array = function(question["inputs"], question["tower"])
  except Exception as error:  # Whatever a library raises is an answer, too.
    reason = str(error).strip().partition("\n")[0]
    return {"error": f"{type(error).__name__}: {reason}"}
  content = io.BytesIO()
  np.save(content, array)
  return {"array": base64.b64encode(content.getvalue()).decode()}
