"""sentence-transformers in a process of its own, asked over pipes.

`sentence_transformers_server` is the other side.
"""

import base64
import importlib.metadata
import io
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32, Int32

from gtr_jax.types import TowerName

_SERVER = "gtr_jax.export.sentence_transformers_server"
_NEEDS = ("torch", "transformers", "sentence-transformers")
# Bytes of its complaints, from the end.
_MOST_READ = 100_000
# Whatever is read must be in the folder.
_ALONE = {
  "HF_HUB_OFFLINE": "1",
  "TRANSFORMERS_OFFLINE": "1",
  "TOKENIZERS_PARALLELISM": "false",
  "CUDA_VISIBLE_DEVICES": "",
}


def version() -> str | None:
  """sentence-transformers' version, None if it or torch is not installed."""
  try:
    return [importlib.metadata.version(name) for name in _NEEDS][-1]
  except importlib.metadata.PackageNotFoundError:
    return None


class Loaded:
  """A folder in the hands of its consumer; an `export.check.Export`.

  Raises:
    ValueError: the library does not load the folder, or fails later; with the
      last line that it wrote.
  """

  def __init__(self, directory: pathlib.Path):
    # A file without a name: a pipe that nobody reads would fill up.
    self._errors, name = tempfile.mkstemp()
    os.unlink(name)
    self._process = subprocess.Popen(
      [sys.executable, "-m", _SERVER, str(directory)],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      stderr=self._errors,
      env={**os.environ, **_ALONE},
    )
    weakref.finalize(self, _end, self._process, self._errors)
    self._dim = self._answer()["dim"]

  def token_ids(
    self, texts: Sequence[str], tower: TowerName
  ) -> Int32[np.ndarray, "n l"]:
    return self._ask("token_ids", texts, tower)

  def embeddings(
    self, texts: Sequence[str], tower: TowerName
  ) -> Float32[np.ndarray, "n D"]:
    if not texts:  # Of which the library says nothing.
      return np.zeros((0, self._dim), np.float32)
    return self._ask("embeddings", texts, tower)

  def _ask(self, call: str, texts: Sequence[str], tower: str) -> np.ndarray:
    question = {"call": call, "texts": list(texts), "tower": tower}
    stream = self._process.stdin
    assert stream is not None
    try:
      stream.write(json.dumps(question).encode() + b"\n")
      stream.flush()
    except BrokenPipeError:
      raise self._failure() from None
    content = base64.b64decode(self._answer()["array"])
    return np.load(io.BytesIO(content), allow_pickle=False)

  def _answer(self) -> Any:
    stream = self._process.stdout
    assert stream is not None
    line = stream.readline()
    if not line:
      raise self._failure()
    return json.loads(line)

  def _failure(self) -> ValueError:
    status = self._process.wait()
    size = os.fstat(self._errors).st_size
    written = os.pread(self._errors, _MOST_READ, max(0, size - _MOST_READ))
    lines = written.decode(errors="replace").strip().splitlines()
    reason = lines[-1] if lines else f"exit status {status}"
    return ValueError(
      f"sentence-transformers does not read the export ({reason}); it was not"
      " kept"
    )


def _end(process: subprocess.Popen, errors: int) -> None:
  """Closes what it reads from, at which it ends."""
  for stream in (process.stdin, process.stdout):
    if stream is not None and not stream.closed:
      stream.close()
  process.wait()
  os.close(errors)
