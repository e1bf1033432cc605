"""The rules of SentencePiece's normalisation, out of its compiled form.

A model holds them as a double array: strings to strings, of which the longest
one that matches is applied at each place of a text, from the left.

Source: `Darts-clone`, by Susumu Yata, whose units these are.
"""

import struct
from collections import defaultdict

import numpy as np


def rules(compiled: bytes) -> dict[str, str]:
  """What each string becomes; `compiled` is `precompiled_charsmap`."""
  (size,) = struct.unpack_from("<I", compiled)
  units = np.frombuffer(compiled, "<u4", size // 4, 4).astype(np.int64)
  results = compiled[4 + size :]
  offsets = ((units >> 10) << ((units & 0x200) >> 6)).tolist()
  children = _children(units)
  values = (units & 0x7FFFFFFF).tolist()
  has_value = ((units >> 8) & 1).tolist()
  found = {}
  stack = [(offsets[0], b"")]
  while stack:
    node, key = stack.pop()
    for byte, place in children.get(node, ()):
      longer, below = key + bytes([byte]), place ^ offsets[place]
      if has_value[place]:
        start = values[below]
        found[longer] = results[start : results.index(0, start)]
      stack.append((below, longer))
  return {key.decode(): value.decode() for key, value in found.items()}


def _children(units: np.ndarray) -> dict[int, list[tuple[int, int]]]:
  """Of each node: (byte, place) of those below it."""
  labels = units & 0x800000FF
  places = np.flatnonzero((labels > 0) & (labels < 256))
  children = defaultdict(list)
  for place, label in zip(
    places.tolist(), labels[places].tolist(), strict=True
  ):
    children[place ^ label].append((label, place))
  return children
