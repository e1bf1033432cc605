"""Another library in a process of its own.

An export is read back as its users read it, and an import as those who wrote
it: by that library, in a process that has none of the model's code.
`answering` is the other side.
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

# Bytes of its complaints, from the end.
_MOST_READ = 100_000
# Whatever is read must be in the folder, and float32 is float32 on a CPU only.
_ALONE = {
  "CUDA_VISIBLE_DEVICES": "",
  "HF_HUB_OFFLINE": "1",
  "JAX_PLATFORMS": "cpu",
  "TF_CPP_MIN_LOG_LEVEL": "3",
  "TOKENIZERS_PARALLELISM": "false",
  "TRANSFORMERS_OFFLINE": "1",
}


def version(*libraries: str) -> str | None:
  """The last one's name and version; None if one of them is not installed."""
  try:
    versions = [importlib.metadata.version(name) for name in libraries]
  except importlib.metadata.PackageNotFoundError:
    return None
  return f"{libraries[-1]} {versions[-1]}"


class Loaded:
  """A folder in the hands of its consumer; an `export.check.Export`.

  Args:
    server: the module that `python -m` runs with the folder; see `answering`.
    directory: the folder.
    library: who reads it, for errors.

  Raises:
    ValueError: the library does not load the folder, or fails later; with its
      last line.
  """

  def __init__(self, server: str, directory: pathlib.Path, library: str):
    self._library = library
    # A file without a name: a pipe that nobody reads would fill up.
    self._errors, name = tempfile.mkstemp()
    os.unlink(name)
    self._process = subprocess.Popen(
      [sys.executable, "-m", server, str(directory)],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      stderr=self._errors,
      env={**os.environ, **_ALONE},
    )
    weakref.finalize(self, _end, self._process, self._errors)
    self._answer()

  def token_ids(
    self, texts: Sequence[str], tower: TowerName
  ) -> Int32[np.ndarray, "n l"]:
    return self._ask("token_ids", texts, tower)

  def embeddings(
    self, texts: Sequence[str], tower: TowerName
  ) -> Float32[np.ndarray, "n D"]:
    # Of no texts most libraries say nothing.
    return self._ask("embeddings", texts or [""], tower)[: len(texts)]

  def of_ids(
    self, rows: Sequence[np.ndarray], tower: TowerName
  ) -> Float32[np.ndarray, "n D"]:
    """Embeddings of token ids, a text each; not all servers have it."""
    return self._ask("of_ids", [row.tolist() for row in rows], tower)

  def _ask(self, call: str, inputs: Sequence, tower: str) -> np.ndarray:
    question = {"call": call, "inputs": list(inputs), "tower": tower}
    stream = self._process.stdin
    assert stream is not None
    try:
      stream.write(json.dumps(question).encode() + b"\n")
      stream.flush()
    except BrokenPipeError:
      raise self._failure() from None
    answer = self._answer()
    if "error" in answer:
      raise self._refusal(answer["error"])
    content = base64.b64decode(answer["array"])
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
    return self._refusal(reason)

  def _refusal(self, reason: str) -> ValueError:
    return ValueError(
      f"{self._library} does not read the folder ({reason}); nothing was kept"
    )


def _end(process: subprocess.Popen, errors: int) -> None:
  """Closes what it reads from, at which it ends."""
  for stream in (process.stdin, process.stdout):
    if stream is not None and not stream.closed:
      stream.close()
  process.wait()
  os.close(errors)
